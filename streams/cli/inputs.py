"""The options of `produce` and `classify` that say how to read an input, its progress bar, and its refusals."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from connectors.sources.shapes.fields import FIELDS
from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import SHAPES, Shape
from connectors.sources.shapes.zones import named_zone
from streams.errors import InputError
from streams.ingest.encodings import checked_encoding
from streams.ingest.layout import checked_delimiter
from streams.ingest.lines import STDIN
from streams.ingest.reading import InputSpec, guess_format
from streams.ingest.rows import InputFormat, RowRules
from streams.ingest.tally import Tally
from streams.settings import Settings
from streams.wording import counted

_FORMAT_HELP = """Format of the input: jsonl (a JSON object a line, with the fields of a post), json (one array of
objects), csv (RFC 4180), tsv (separated by tabs, without quoting), text (a post a line) or parquet.  [default: by the
suffix of FILE; {stdin} for -]"""
_MAP_HELP = f"""Where a field is: a JMESPath expression, such as --map text=commit.record.text. A row of csv or tsv is
an object with the names of the header, and with column1, column2 and so on. May be repeated. Fields:
{", ".join(FIELDS)}. A field without --map is read under its own name."""
_SHAPE_HELP = "Read the objects or rows of a network or data set, instead of --map."
_TIMEZONE_HELP = """Time zone of times that state none, such as Europe/Berlin or UTC. Without it such times are
refused."""
_HEADER_HELP = """Whether the first row of csv or tsv is a header.  [default: it is if it has a cell `text`, if two of
its cells are names of fields, or if --map has a name] With --no-header and without --map, the text is the first
column."""
_DELIMITER_HELP = """Character between the cells of csv, or `tab`.  [default: found in the header; else a comma]"""
_ENCODING_HELP = """Encoding of the input, such as latin-1 or cp1252.  [default: by its byte order mark; else UTF-8]"""


@dataclass(frozen=True)
class InputOptions:
    """The argument FILE and the options of a command that say how to read it."""

    file: str
    format: InputFormat | None
    mapping: FieldMap
    shape: Shape | None
    zone: tzinfo | None
    header: bool | None
    delimiter: str | None
    encoding: str | None
    stdin_format: InputFormat

    def spec(self, settings: Settings, *, times: bool = True) -> InputSpec:
        """Returns how to read the input.

        Args:
            settings: the longest text, and what to do with characters that cannot be stored.
            times: whether `created_at` is read.

        Raises:
            InputError: The options contradict each other, or there is no format and the file's suffix is not known.
        """
        if self.shape is not None and self.zone is not None:
            raise InputError("the times of a shape state their zone; --timezone is for other inputs")
        rules = RowRules(settings.text_max_chars, self.zone, times, settings.invalid_characters == "replace")
        return InputSpec(
            self.format or self._default_format(),
            rules,
            self.mapping,
            self.shape,
            self.header,
            self.delimiter,
            self.encoding,
            assumed=self.format is None,
        )

    def _default_format(self) -> InputFormat:
        if self.file != STDIN:
            return guess_format(self.file, self.shape)
        if self.shape is not None:
            return InputFormat.CSV if self.shape.is_table else InputFormat.JSONL
        return self.stdin_format


def _mapping(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> FieldMap:
    expressions: dict[str, str] = {}
    for item in given:
        field, equals, expression = item.partition("=")
        field = field.strip().lower().replace("-", "_")
        if not equals or not expression.strip():
            raise click.BadParameter(f"{item!r} is not FIELD=EXPRESSION, such as text=tweet or text=column2")
        if field in expressions:
            raise click.BadParameter(f"the expression of {field!r} is given twice")
        expressions[field] = expression.strip()
    try:
        return FieldMap.parse(expressions)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None


def _zone(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tzinfo | None:
    try:
        return None if given is None else named_zone(given)
    except ValueError as exc:
        raise click.BadParameter(f"{given!r} {exc}") from None


def _delimiter(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    try:
        return None if given is None else checked_delimiter(given)
    except InputError as exc:
        raise click.BadParameter(str(exc)) from None


def _encoding(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    try:
        return None if given is None else checked_encoding(given)
    except InputError as exc:
        raise click.BadParameter(str(exc)) from None


def input_options(stdin_format: InputFormat) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Add the argument FILE and the options that say how to read it to a command, as one argument, `options`.

    Args:
        stdin_format: the default format of standard input, which the help names.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def with_options(
            *,
            file: str,
            input_format: str | None,
            mapping: FieldMap,
            shape: str | None,
            timezone: tzinfo | None,
            header: bool | None,
            delimiter: str | None,
            encoding: str | None,
            **rest: Any,  # noqa: ANN401 - the options of the command
        ) -> int:
            chosen = InputFormat(input_format) if input_format is not None else None
            found = SHAPES[shape] if shape is not None else None
            options = InputOptions(file, chosen, mapping, found, timezone, header, delimiter, encoding, stdin_format)
            return command(options=options, **rest)

        decorated: Callable[..., int] = with_options
        for option in reversed(_options(stdin_format)):
            decorated = option(decorated)
        return decorated

    return decorate


def _options(stdin_format: InputFormat) -> list[Callable[[Callable[..., int]], Callable[..., int]]]:
    return [
        click.argument("file", metavar="FILE|-"),
        click.option(
            "--format",
            "input_format",
            type=click.Choice([str(name) for name in InputFormat]),
            help=_FORMAT_HELP.format(stdin=stdin_format),
        ),
        click.option("--map", "mapping", metavar="FIELD=EXPRESSION", multiple=True, callback=_mapping, help=_MAP_HELP),
        click.option("--shape", type=click.Choice(list(SHAPES)), help=_SHAPE_HELP),
        click.option("--timezone", metavar="ZONE", callback=_zone, help=_TIMEZONE_HELP),
        click.option("--header/--no-header", "header", default=None, help=_HEADER_HELP),
        click.option("--delimiter", metavar="C", callback=_delimiter, help=_DELIMITER_HELP),
        click.option("--encoding", metavar="NAME", callback=_encoding, help=_ENCODING_HELP),
    ]


def print_refusals(console: Console, tally: Tally) -> None:
    """Print how many rows were refused for each reason, passed over and cleaned; nothing if none was."""
    if tally.passed_over:
        console.print(f"passed over {counted(tally.passed_over, 'event')} of other kinds than posts")
    if tally.cleaned:
        console.print(f"cleaned {counted(tally.cleaned, 'row')}: U+FFFD stands for characters that cannot be stored")
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
