"""Reads records from CSV and TSV, and finds the column of each field.

CSV is as in RFC 4180: a cell in double quotes may have commas, line ends and doubled quotes in it. TSV has no quoting:
a double quote is an ordinary character, and a record is a line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from streams.errors import InputError
from streams.ingest.lines import Line, LineReader
from streams.ingest.rows import FIELDS, Refusal, RefusalReason
from streams.wording import counted

MAX_CELL_CHARS = 1024 * 1024
"""The longest cell, in characters. A quote that is not closed makes a record of this size at most, which is refused."""

TOO_LONG = "the line is longer than 4 MiB"
NOT_UTF8 = "the line is not valid UTF-8"


class Record(NamedTuple):
    """The cells of a record, and the line at which it begins."""

    line: int
    cells: list[str]


class DecodedLine(NamedTuple):
    """A line without its line end."""

    number: int
    text: str


def decoded(lines: LineReader) -> Iterator[DecodedLine | Refusal]:
    """Yield each line as text, or the refusal of a line that is too long or not UTF-8."""
    for number, data in lines:
        if data is None:
            yield Refusal(number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
            continue
        try:
            text = data.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            yield Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)
            continue
        yield DecodedLine(number, text)


def tsv_records(lines: LineReader) -> Iterator[Record | Refusal]:
    """Yield the records of a TSV input. Blank lines are skipped."""
    for line in decoded(lines):
        if isinstance(line, Refusal):
            yield line
        elif line.text:
            yield Record(line.number, line.text.split("\t"))


class _TooLongError(Exception):
    """A line of a record is longer than `MAX_LINE_BYTES`."""


class _RecordLines:
    """The lines that csv.reader reads. It keeps the lines of the current record, so that they can be read again."""

    def __init__(self, lines: LineReader) -> None:
        self._lines = iter(lines)
        self._again: deque[Line] = deque()
        self.record: list[Line] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.record.append(line)
        if line.data is None:
            raise _TooLongError
        # Bytes that are not UTF-8 become surrogates, and a record with surrogates is refused.
        return line.data.decode("utf-8", "surrogateescape") + "\n"

    def keep_first(self) -> None:
        """Let all lines of the record except the first be read again."""
        self._again.extendleft(reversed(self.record[1:]))


def csv_records(lines: LineReader) -> Iterator[Record | Refusal]:
    """Yield the records of a CSV input. Blank lines are skipped.

    After a record that is not valid CSV, reading continues at its second line. So a stray quote costs only its own
    line, and not the lines after it.
    """
    csv.field_size_limit(MAX_CELL_CHARS)
    record_lines = _RecordLines(lines)
    reader = csv.reader(record_lines, strict=True)
    while True:
        record_lines.record.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_TooLongError, csv.Error) as exc:
            yield _refused(record_lines.record, exc)
            record_lines.keep_first()
            reader = csv.reader(record_lines, strict=True)
            continue
        if not cells:
            continue
        number = record_lines.record[0].number
        if _is_utf8(cells):
            yield Record(number, cells)
        else:
            yield Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)


def _refused(record: Sequence[Line], exc: Exception) -> Refusal:
    first = record[0]
    if first.data is None:
        return Refusal(first.number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
    # The message of the csv module describes an error in a single line. With more lines, a quote in the first is the
    # cause.
    detail = str(exc) if len(record) == 1 else "a double quote opens a cell and is not closed properly"
    if len(record) == 1 and (follows := re.search(r'[^,"]"([^,"\s])', first.data.decode("utf-8", "replace"))):
        detail = f"a double quote closes a cell, and {follows[1]!r} follows it instead of a comma"
    return Refusal(first.number, RefusalReason.INVALID_CSV, detail)


def _is_utf8(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Layout(NamedTuple):
    """The columns of the fields.

    Attributes:
        indices: the index of a field's column, from 0, by field.
        width: cells in the first record. A record with more cells has a separator inside a cell.
        header: whether the first record is a header and not a post.
    """

    indices: dict[str, int]
    width: int
    header: bool

    def values(self, cells: Sequence[str]) -> dict[str, object]:
        """Returns the fields of a record, without those whose cells it lacks."""
        return {name: cells[index] for name, index in self.indices.items() if index < len(cells)}


def layout(
    first: Sequence[str], columns: Mapping[str, str], header: bool | None, name: str, separator: str = ","
) -> Layout:
    """Find the columns of the fields, from the first record.

    The first record is a header if `header` is true. It is also a header if `header` is None and `columns` has a name,
    a cell is `text`, or two cells are names of fields. Names are compared without case and without the space around
    them. If `header` is false and `columns` is empty, the first column is the text and the others are not read.

    Args:
        first: the cells of the first record.
        columns: the column of a field, by its name or by its number from 1.
        header: whether the first record is a header; None to detect it.
        name: the name of the input in messages.
        separator: the character between the cells of this format.

    Raises:
        InputError: A column of `columns` does not exist or is ambiguous, there is no column for the text, or another
            character than `separator` seems to separate the cells.
    """
    cells = _names(first)
    named = {field: column for field, column in columns.items() if not column.isdecimal()}
    if named and header is False:
        raise InputError("without a header, columns have no names; give their numbers, as in --column text=2")
    _check_separator(first, columns, header, name, separator)
    has_header = header if header is not None else bool(named) or _names_fields(cells)
    indices = {field: _number(column, first, name) for field, column in columns.items() if column.isdecimal()}
    indices |= {field: _find(column, first, name) for field, column in named.items()}
    if has_header:
        found = {field: _find(field, first, name) for field in FIELDS if field not in indices and field in cells}
        taken = set(indices.values())
        indices |= {field: index for field, index in found.items() if index not in taken}
    elif header is False and not columns:
        indices["text"] = 0
    if "text" not in indices:
        raise InputError(
            f"{name} has no column 'text'; {_first_row(first)}. Give --column text=NAME for the column that holds the "
            "text, or rename that column. If the file has no header, give --no-header"
        )
    return Layout(indices, len(cells), has_header)


def header_separator(line: str, names: Collection[str] = ()) -> str | None:
    """Returns the separator that divides a line into names of columns; None if none does.

    Args:
        line: the line.
        names: names of columns that are looked for beside those of fields, in lower case.
    """
    for separator in _SEPARATORS:
        cells = _names(line.split(separator))
        if len(cells) > 1 and (_names_fields(cells) or not set(cells).isdisjoint(names)):
            return separator
    return None


def _check_separator(
    first: Sequence[str], columns: Mapping[str, str], header: bool | None, name: str, separator: str
) -> None:
    """Raise an InputError if the first record is one cell because it is separated by another character.

    That is certain if the character divides the cell into names of columns. It is likely if the cell has such a
    character, unless `columns` and a `header` of False together say that the cell is a text. Commas do not make it
    likely, because they are common in texts.
    """
    if len(first) != 1:
        return
    names = {column.strip().casefold() for column in columns.values() if not column.isdecimal()}
    certain = header_separator(first[0], names)
    likely = next((other for other in ";\t|" if other in first[0]), None)
    found = certain or (None if header is False and columns else likely)
    if found in {None, separator}:
        return
    plural, remedy = _SEPARATORS[found]
    otherwise = "" if certain else "; if it is one text, give --no-header --column text=1"
    raise InputError(
        f"{name}: the first row has one column, with {plural} in it: {_shown(first[0])}; {remedy}{otherwise}"
    )


_SEPARATORS: Final = {
    ",": ("commas", "read it with --format csv"),
    ";": ("semicolons", "save the file with commas between the columns"),
    "\t": ("tabs", "read it with --format tsv"),
    "|": ("vertical bars", "save the file with commas between the columns"),
}
"""Characters that separate cells: their name, and what to do with an input that has them."""


def _names(first: Sequence[str]) -> list[str]:
    """Returns the cells of the first record as names of columns, for comparing them."""
    return [cell.strip().strip('"').casefold() for cell in first]


def _names_fields(cells: Sequence[str]) -> bool:
    return "text" in cells or len(set(cells) & set(FIELDS)) >= 2


def _number(column: str, first: Sequence[str], name: str) -> int:
    index = int(column) - 1
    if not 0 <= index < len(first):
        raise InputError(f"{name} has no column {column}; {_first_row(first)}")
    return index


def _find(column: str, first: Sequence[str], name: str) -> int:
    cells, wanted = _names(first), column.strip().casefold()
    count = cells.count(wanted)
    if count == 0:
        raise InputError(f"{name} has no column {column!r}; {_first_row(first)}")
    if count > 1:
        raise InputError(f"{name} has {count} columns {column!r}; give the number of one of them")
    return cells.index(wanted)


def _first_row(cells: Sequence[str]) -> str:
    shown = ", ".join(_shown(cell) for cell in cells[:12])
    more = f" and {len(cells) - 12} more" if len(cells) > 12 else ""
    return f"its first row has {counted(len(cells), 'column')}: {shown}{more}"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else f"{cell[:60]}…")
