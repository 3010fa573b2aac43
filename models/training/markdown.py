"""Tables in Markdown, for the model card and for benchmarks."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table; a bar in a cell stays text.

    Args:
        header: The columns' titles.
        rows: Their cells.
        numbers: Whether all columns but the first hold numbers, and are set flush right.
    """
    rule = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in (header, rule, *rows)
    )
