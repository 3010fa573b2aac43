"""Reads records from CSV and TSV, and finds the column of each field.

CSV is as in RFC 4180: a cell in double quotes may have commas, line ends and doubled quotes in it. TSV has no quoting:
a double quote is an ordinary character, and a record is a line.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.errors import InputError
from streams.ingest.lines import Line, LineReader
from streams.ingest.rows import FIELDS, Refusal, RefusalReason

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


def layout(first: Sequence[str], columns: Mapping[str, str], header: bool | None, name: str) -> Layout:
    """Find the columns of the fields, from the first record.

    The first record is a header if `header` is true. It is also a header if `header` is None and `columns` has a name,
    a cell is `text`, or two cells are names of fields. Names are compared without case and without the space around
    them. If there is no header and `columns` is empty, the first column is the text and the others are not read.

    Args:
        first: the cells of the first record.
        columns: the column of a field, by its name or by its number from 1.
        header: whether the first record is a header; None to detect it.
        name: the name of the input in messages.

    Raises:
        InputError: A column of `columns` does not exist or is ambiguous, or there is no column for the text.
    """
    cells = [cell.strip().casefold() for cell in first]
    named = {field: column for field, column in columns.items() if not column.isdecimal()}
    if named and header is False:
        raise InputError("without a header, columns have no names; give their numbers, as in --column text=2")
    has_header = header if header is not None else bool(named) or _names_fields(cells)
    indices = {field: _number(column, len(cells), name) for field, column in columns.items() if column.isdecimal()}
    indices |= {field: _find(column, cells, name) for field, column in named.items()}
    if has_header:
        found = {field: _find(field, cells, name) for field in FIELDS if field not in indices and field in cells}
        taken = set(indices.values())
        indices |= {field: index for field, index in found.items() if index not in taken}
    elif not columns:
        indices["text"] = 0
    if "text" not in indices:
        raise InputError(f"{name}: no column has the text; give its name or number, as in --column text=2")
    return Layout(indices, len(cells), has_header)


def _names_fields(cells: Sequence[str]) -> bool:
    return "text" in cells or len(set(cells) & set(FIELDS)) >= 2


def _number(column: str, width: int, name: str) -> int:
    index = int(column) - 1
    if not 0 <= index < width:
        raise InputError(f"{name} has no column {column}: its first row has {width} columns")
    return index


def _find(column: str, cells: Sequence[str], name: str) -> int:
    wanted = column.strip().casefold()
    count = cells.count(wanted)
    if count == 0:
        shown = ", ".join(repr(cell[:30]) for cell in cells[:12])
        raise InputError(f"{name} has no column {column!r}; its first row is {shown}")
    if count > 1:
        raise InputError(f"{name} has {count} columns {column!r}; give the number of one of them")
    return cells.index(wanted)
