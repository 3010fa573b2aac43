"""Markdown tables, for the model card and for benchmarks."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """Returns a table. Bars in cells are escaped.

    Args:
        header: The titles of the columns.
        rows: The cells of each row.
        numbers: Whether all columns except the first are aligned to the right, for numbers.
    """
    rule = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in (header, rule, *rows)
    )
