"""What `produce` and `classify` share: the options that say how to read an input, and its progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from streams.ingest.lines import STDIN
from streams.ingest.reading import InputSpec, guess_format
from streams.ingest.rows import FIELDS, InputFormat
from streams.ingest.tally import Tally

F = TypeVar("F", bound=Callable[..., Any])

_FORMAT_HELP = """How the input is written: jsonl (an object a line, fields as in a post), csv (RFC 4180), tsv
(tab-separated, no quoting), text (a post a line). Default: by the file's suffix; for - it is {stdin}."""
_COLUMN_HELP = """Where a field is, by the column's name or its number from 1 (for jsonl: by the object's key); repeat
it for more: --column text=tweet --column id=1. Fields: {fields}. Unnamed fields are found by their own name."""
_HEADER_HELP = """Whether csv or tsv begins with a header. Default: it does if its first row has a cell `text`, or two
cells that name fields, or if --column gives a name. Without header and --column, the first column is the text."""


def _columns(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for item in given:
        field, equals, column = item.partition("=")
        field = field.strip().lower().replace("-", "_")
        if not equals or not column.strip():
            raise click.BadParameter(f"{item!r} is not FIELD=COLUMN, such as text=tweet or text=2")
        if field not in FIELDS:
            raise click.BadParameter(f"a post has no field {field!r}; its fields are {', '.join(FIELDS)}")
        if field in columns:
            raise click.BadParameter(f"the column of {field!r} is given twice")
        columns[field] = column.strip()
    return columns


def input_options(stdin_format: InputFormat) -> Callable[[F], F]:
    """The FILE argument and the options `input_format`, `columns` and `header`.

    Args:
        stdin_format: the format of standard input if none is given; only named in the help here.
    """

    def decorate(command: F) -> F:
        for option in (
            click.option("--header/--no-header", "header", default=None, help=_HEADER_HELP),
            click.option(
                "--column",
                "columns",
                metavar="FIELD=COLUMN",
                multiple=True,
                callback=_columns,
                help=_COLUMN_HELP.format(fields=", ".join(FIELDS)),
            ),
            click.option(
                "--format",
                "input_format",
                type=click.Choice([str(name) for name in InputFormat]),
                help=_FORMAT_HELP.format(stdin=stdin_format),
            ),
            click.argument("file", metavar="FILE|-"),
        ):
            command = option(command)
        return command

    return decorate


def input_spec(
    file: str,
    input_format: str | None,
    columns: dict[str, str],
    header: bool | None,
    *,
    stdin_format: InputFormat,
    text_max_chars: int,
) -> InputSpec:
    """How to read the input that the options describe.

    Raises:
        InputError: if they contradict each other, or the file's name does not tell its format.
    """
    if input_format is not None:
        chosen = InputFormat(input_format)
    else:
        chosen = stdin_format if file == STDIN else guess_format(file)
    return InputSpec(chosen, text_max_chars, columns, header)


def print_refusals(console: Console, tally: Tally) -> None:
    """Print what was refused, if anything was."""
    if tally.total:
        console.print(f"refused {tally.total} row{'s' if tally.total > 1 else ''}:", style="yellow")
        for line in tally.describe():
            console.print(f"  {line}", markup=False, soft_wrap=True)


class Bar:
    """A progress bar with a count of posts. `set` is cheap enough to call for every post."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, posts=0) if progress is not None else None

    def set(self, completed: int | None, posts: int) -> None:
        """Show how far it is, in the units of the total, and how many posts that was."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=completed, posts=posts)


@contextmanager
def progress_bar(console: Console, verb: str, total: int | None, *, show: bool) -> Iterator[Bar]:
    """A bar on `console` while entered; nothing at all if `show` is false or the console is no terminal.

    Args:
        console: where to show it.
        verb: what is happening to the posts, such as `sent`.
        total: what `Bar.set` counts towards; None for no known end.
        show: whether it is wanted.
    """
    if not (show and console.is_terminal):
        yield Bar(None, None)
        return
    columns = [
        SpinnerColumn(),
        *([BarColumn()] if total else []),
        TextColumn("{task.fields[posts]:,} " + verb),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, total)


def stdout_is_terminal() -> bool:
    """Whether results go to a terminal, where a progress bar would be in their way."""
    return sys.stdout.isatty()
