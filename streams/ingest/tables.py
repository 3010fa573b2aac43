"""CSV and TSV: records as lists of cells, and which column is which field.

CSV is RFC 4180, so a cell in double quotes may hold commas, line ends and doubled quotes. TSV has no quoting at all: a
double quote is a character like any other, and a record is a line.
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
"""A quote that is never closed swallows this much at most before its record is refused and reading goes on."""

TOO_LONG = "the line is longer than 4 MiB"
NOT_UTF8 = "the line is not valid UTF-8"


class Record(NamedTuple):
    """The cells of a record, and the line at which it begins."""

    line: int
    cells: list[str]


def tsv_records(lines: LineReader) -> Iterator[Record | Refusal]:
    """The records of a TSV input; blank lines are passed over."""
    for number, data in lines:
        if data is None:
            yield Refusal(number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
            continue
        try:
            line = data.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            yield Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)
            continue
        if line:
            yield Record(number, line.split("\t"))


class _TooLongError(Exception):
    """A line over the limit came up within a record."""


class _Feed:
    """Lines for csv.reader, which remembers those of the current record so that all but the first can be read again."""

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
        # Bytes that are not UTF-8 become surrogates here; the record that holds them is refused as a whole.
        return line.data.decode("utf-8", "surrogateescape") + "\n"

    def keep_first(self) -> None:
        """Give all lines of the record but its first back."""
        self._again.extendleft(reversed(self.record[1:]))


def csv_records(lines: LineReader) -> Iterator[Record | Refusal]:
    """The records of a CSV input; blank lines are passed over.

    After a record that is not valid CSV, reading goes on at the line after the one at which it began, so that a stray
    quote costs its own line and not what follows.
    """
    csv.field_size_limit(MAX_CELL_CHARS)
    feed = _Feed(lines)
    reader = csv.reader(feed, strict=True)
    while True:
        feed.record.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_TooLongError, csv.Error) as exc:
            yield _refused(feed.record, exc)
            feed.keep_first()
            reader = csv.reader(feed, strict=True)
            continue
        if not cells:
            continue
        number = feed.record[0].number
        if _is_utf8(cells):
            yield Record(number, cells)
        else:
            yield Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)


def _refused(record: Sequence[Line], exc: Exception) -> Refusal:
    first = record[0]
    if first.data is None:
        return Refusal(first.number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
    # With one line, csv's own words say what is wrong with it; with more, the cause is a quote in the first.
    detail = str(exc) if len(record) == 1 else "a double quote opens a cell and is not closed properly"
    return Refusal(first.number, RefusalReason.INVALID_CSV, detail)


def _is_utf8(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Layout(NamedTuple):
    """Which column holds which field.

    Attributes:
        indices: columns from 0, by field.
        width: cells in the first record; a record with more has a separator inside a cell.
        header: whether the first record is a header and no post.
    """

    indices: dict[str, int]
    width: int
    header: bool

    def values(self, cells: Sequence[str]) -> dict[str, object]:
        """The fields of a record; those in cells that it lacks are left out."""
        return {name: cells[index] for name, index in self.indices.items() if index < len(cells)}


def layout(first: Sequence[str], columns: Mapping[str, str], header: bool | None, name: str) -> Layout:
    """Work out the columns from the first record.

    It is a header if `header` says so, if a column is asked for by name, if a cell is `text`, or if two cells name
    fields of a post. Names are compared without regard to case and surrounding space. Where there is no header and no
    mapping, the first column is the text and the others are not read.

    Args:
        first: the cells of the first record.
        columns: for a field, the name of its column or the column's number from 1.
        header: what the user said; None to find out.
        name: what to call the input in messages.

    Raises:
        InputError: if a column that was asked for is not there, or there is none for the text.
    """
    cells = [cell.strip().casefold() for cell in first]
    named = {field: column for field, column in columns.items() if not column.isdecimal()}
    if named and header is False:
        raise InputError("without a header columns have no names; give their numbers, as in --column text=2")
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
        raise InputError(f"{name}: which column is the text? Give it by name or number, as in --column text=2")
    return Layout(indices, len(cells), has_header)


def _names_fields(cells: Sequence[str]) -> bool:
    return "text" in cells or len(set(cells) & set(FIELDS)) >= 2


def _number(column: str, width: int, name: str) -> int:
    index = int(column) - 1
    if not 0 <= index < width:
        raise InputError(f"{name} has no column {column}: its first row has {width}")
    return index


def _find(column: str, cells: Sequence[str], name: str) -> int:
    wanted = column.strip().casefold()
    count = cells.count(wanted)
    if count == 0:
        shown = ", ".join(repr(cell[:30]) for cell in cells[:12])
        raise InputError(f"{name} has no column {column!r}; its first row is {shown}")
    if count > 1:
        raise InputError(f"{name} has {count} columns {column!r}; give the number of the one that is meant")
    return cells.index(wanted)
