"""Reads records from CSV and TSV.

CSV is as in RFC 4180, with any delimiter: a cell in double quotes may have delimiters, line ends and doubled quotes in
it. TSV has no quoting: a double quote is an ordinary character, and a record is a line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from streams.ingest.layout import SEPARATOR_LINE
from streams.ingest.lines import Line, LineReader
from streams.ingest.rows import NOT_UTF8, TOO_LONG, Refusal, RefusalReason

MAX_CELL_CHARS = 1024 * 1024
"""The longest cell, in characters. A quote that is not closed makes a record of this size at most, which is refused."""


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

    def peek(self) -> Line | None:
        """Returns the next line that is not blank, which stays to be read; None at the end."""
        while not self._again:
            line = next(self._lines, None)
            if line is None:
                return None
            if line.data is None or line.data.strip():
                self._again.append(line)
        return self._again[0]

    def skip(self) -> None:
        """Pass over the line that `peek` has returned."""
        self._again.popleft()

    def keep_first(self) -> None:
        """Let all lines of the record except the first be read again."""
        self._again.extendleft(reversed(self.record[1:]))


def csv_records(lines: LineReader, choose: Callable[[str], str]) -> Iterator[Record | Refusal]:
    """Yield the records of a CSV input. Blank lines are skipped.

    After a record that is not valid CSV, reading continues at its second line. So a stray quote costs only its own
    line, and not the lines after it.

    Args:
        lines: the input.
        choose: the first line that is not blank -> the delimiter. `sep=;` is no record but names it.
    """
    csv.field_size_limit(MAX_CELL_CHARS)
    record_lines = _RecordLines(lines)
    delimiter = ","
    if (first := record_lines.peek()) is not None:
        text = (first.data or b"").decode("utf-8", "replace").rstrip("\r")
        delimiter = choose(text)
        if SEPARATOR_LINE.fullmatch(text):
            record_lines.skip()
    reader = csv.reader(record_lines, strict=True, delimiter=delimiter)
    while True:
        record_lines.record.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (_TooLongError, csv.Error) as exc:
            yield _refused(record_lines.record, exc, delimiter)
            record_lines.keep_first()
            reader = csv.reader(record_lines, strict=True, delimiter=delimiter)
            continue
        if not cells:
            continue
        number = record_lines.record[0].number
        if _is_utf8(cells):
            yield Record(number, cells)
        else:
            yield Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)


def _refused(record: Sequence[Line], exc: Exception, delimiter: str) -> Refusal:
    first = record[0]
    if first.data is None:
        return Refusal(first.number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
    # The message of the csv module describes an error in a single line. With more lines, a quote in the first is the
    # cause.
    detail = str(exc) if len(record) == 1 else "a double quote opens a cell and is not closed properly"
    between = re.escape(delimiter)
    if len(record) == 1 and (
        follows := re.search(rf'[^{between}"]"([^{between}"\s])', first.data.decode("utf-8", "replace"))
    ):
        wanted = "a comma" if delimiter == "," else repr(delimiter)
        detail = f"a double quote closes a cell, and {follows[1]!r} follows it instead of {wanted}"
    return Refusal(first.number, RefusalReason.INVALID_CSV, detail)


def _is_utf8(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
