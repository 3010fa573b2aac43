"""The options of `produce` and `classify` that say how to read an input, its progress bar, and its refusals."""

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
from streams.wording import counted

F = TypeVar("F", bound=Callable[..., Any])

_FORMAT_HELP = """Format of the input: jsonl (a JSON object a line, with the fields of a post), csv (RFC 4180), tsv
(separated by tabs, without quoting) or text (a post a line).  [default: by the suffix of FILE; {stdin} for -]"""
_COLUMN_HELP = """Column of a field, by its name or by its number from 1 (for jsonl: the key in the object), such as
--column text=tweet --column id=1. May be repeated. Fields: {fields}. A field without --column is read from the column
of its own name."""
_HEADER_HELP = """Whether the first row of csv or tsv is a header.  [default: it is if it has a cell `text`, if two of
its cells are names of fields, or if --column gives a name] With --no-header and without --column, the text is the
first column."""


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
    """Add the argument FILE and the options `input_format`, `columns` and `header` to a command.

    Args:
        stdin_format: the default format of standard input, which the help names.
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
    """Returns how to read the input that the options describe.

    Raises:
        InputError: The options contradict each other, or there is no format and the file's suffix is not known.
    """
    if input_format is not None:
        chosen = InputFormat(input_format)
    else:
        chosen = stdin_format if file == STDIN else guess_format(file)
    return InputSpec(chosen, text_max_chars, columns, header, assumed=input_format is None)


def print_refusals(console: Console, tally: Tally) -> None:
    """Print how many rows were refused for each reason; nothing if none was."""
    if tally.total:
        console.print(f"refused {counted(tally.total, 'row')}:", style="yellow")
        for line in tally.describe():
            console.print(f"  {line}", markup=False, soft_wrap=True)


class Bar:
    """A progress bar with a count of posts. A call of `set` for every post is cheap enough."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, posts=0) if progress is not None else None

    def set(self, completed: int | None, posts: int) -> None:
        """Show the progress in units of the total, and the number of posts."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=completed, posts=posts)


@contextmanager
def progress_bar(console: Console, verb: str, total: int | None, *, show: bool) -> Iterator[Bar]:
    """Show a progress bar while the context is entered, if `show` is set and the console is a terminal.

    Args:
        console: where the bar is shown.
        verb: what happens to the posts, such as `sent`.
        total: the value of `Bar.set` at the end; None if the end is not known.
        show: whether to show the bar at all.
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
    """Returns whether results go to a terminal, where a progress bar would disturb them."""
    return sys.stdout.isatty()
