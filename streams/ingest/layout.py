"""Finds the delimiter of a table, its header, and the column of each field. Pure.

A row is an object for the expressions of a mapping: its members are named as in the header, and besides `column1`,
`column2` and so on.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.sources.shapes.fields import FIELDS
from connectors.sources.shapes.mapping import FieldMap
from streams.errors import InputError
from streams.wording import counted

_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Characters that separate cells, in the order in which they are tried, and their names."""

SEPARATOR_LINE: Final = re.compile('"?sep=([^"])"?')
"""A first line that is no record, but names the delimiter."""

_NUMBERED: Final = re.compile(r"column([1-9]\d{0,5})", re.ASCII)


@dataclass(frozen=True)
class Layout:
    """The columns of a table.

    Attributes:
        indices: the index of the column, from 0, of each field that is read from the column of its own name.
        names: the names of the columns in the header; without a header there are none.
        width: cells in the first record. A record with more cells has a delimiter inside a cell.
        mapping: the expressions of the other fields.
    """

    indices: Mapping[str, int]
    names: Sequence[str]
    width: int
    mapping: FieldMap

    @property
    def header(self) -> bool:
        """Whether the first record is a header and not a post."""
        return bool(self.names)

    def values(self, cells: Sequence[str]) -> dict[str, object]:
        """Returns the fields of a record, without those whose cells it lacks.

        Raises:
            ValueError: A function of an expression cannot be applied to the cells.
        """
        found: dict[str, object] = {name: cells[index] for name, index in self.indices.items() if index < len(cells)}
        if self.mapping.expressions:
            row = {f"column{number}": cell for number, cell in enumerate(cells, start=1)}
            row.update(zip(self.names, cells, strict=False))
            found |= {name: value for name, value in self.mapping.mapped(row).items() if value is not None}
        return found


def checked_delimiter(given: str) -> str:
    """Returns the character that an option names: itself, or a tab for `tab`.

    Raises:
        InputError: It is not one character, or one that cannot separate cells.
    """
    mark = {"tab": "\t", "\\t": "\t"}.get(given, given)
    if len(mark) != 1 or mark in '"\r\n\0':
        raise InputError(f"{given!r} is not one character, or tab")
    return mark


def choose_delimiter(first: str, names: Collection[str], header: bool | None) -> str:
    """Returns the delimiter of a CSV input: the one that divides its header into the most names that are known.

    Without such names it is the comma. A first line such as `sep=;`, which Excel writes, names it.

    Args:
        first: the first line.
        names: names of columns that are looked for beside those of fields.
        header: whether the first row is a header; None if that is not known.
    """
    if (named := SEPARATOR_LINE.fullmatch(first)) is not None:
        return named[1]
    if header is False:
        return ","
    known = {*FIELDS, *(name.strip().casefold() for name in names)}
    scores = {mark: len(known.intersection(_folded(_cells(first, mark)))) for mark in _DELIMITERS}
    return max(scores, key=lambda mark: scores[mark])


def header_delimiter(line: str) -> str | None:
    """Returns the character that divides a line into names of fields, as in a header; None if none does."""
    for mark in _DELIMITERS:
        cells = _folded(line.split(mark))
        if len(cells) > 1 and _names_fields(cells):
            return mark
    return None


def layout(first: Sequence[str], mapping: FieldMap, header: bool | None, name: str, delimiter: str) -> Layout:
    """Find the columns of the fields, from the first record.

    The first record is a header if `header` is true. It is also a header if `header` is None and `mapping` reads a
    column by its name, a cell is `text`, or two cells are names of fields. The names of fields are compared without
    case and without the space around them. If `header` is false and `mapping` is empty, the first column is the text
    and the others are not read.

    Args:
        first: the cells of the first record.
        mapping: the expressions of fields.
        header: whether the first record is a header; None to detect it.
        name: the name of the input in messages.
        delimiter: the character between the cells.

    Raises:
        InputError: A column of `mapping` does not exist or is ambiguous, there is no column for the text, or another
            character than `delimiter` seems to separate the cells.
    """
    named = {root for root in mapping.roots if _NUMBERED.fullmatch(root) is None}
    if named and header is False:
        raise InputError("without a header, columns have no names; they are column1, column2 and so on")
    _check_delimiter(first, mapping, header, name, delimiter)
    has_header = header if header is not None else bool(named) or _names_fields(_folded(first))
    names = [cell.strip() for cell in first] if has_header else []
    for column in mapping.names.values():
        _check_column(column, names, first, name)
    indices = _own_columns(first, mapping, name) if has_header else {}
    if header is False and not mapping.expressions:
        indices = {"text": 0}
    if "text" not in indices and "text" not in mapping.expressions:
        raise InputError(
            f"{name} has no column 'text'; {_first_row(first)}. Give --map text=NAME for the column that holds the "
            "text, or rename that column. If the file has no header, give --no-header"
        )
    return Layout(indices, names, len(first), mapping)


def _own_columns(first: Sequence[str], mapping: FieldMap, name: str) -> dict[str, int]:
    """Returns the columns of the fields that have their own names, unless `mapping` reads them for another field."""
    cells = _folded(first)
    found: dict[str, int] = {}
    taken = {column.casefold() for column in mapping.names.values()}
    for field in FIELDS:
        if field in mapping.expressions or field not in cells or field in taken:
            continue
        if cells.count(field) > 1:
            raise InputError(
                f"{name} has {cells.count(field)} columns {field!r}; say which one with --map: {_numbers(cells, field)}"
            )
        found[field] = cells.index(field)
    return found


def _check_column(column: str, names: Sequence[str], first: Sequence[str], name: str) -> None:
    """Raise an InputError if a column does not exist, or if two have its name."""
    if (count := names.count(column)) > 1:
        raise InputError(f"{name} has {count} columns {column!r}; say which one with --map: {_numbers(names, column)}")
    numbered = _NUMBERED.fullmatch(column)
    if not count and (numbered is None or int(numbered[1]) > len(first)):
        raise InputError(f"{name} has no column {column!r}; {_first_row(first)}")


def _check_delimiter(first: Sequence[str], mapping: FieldMap, header: bool | None, name: str, delimiter: str) -> None:
    """Raise an InputError if the first record is one cell because it is separated by another character.

    That is certain if the character divides the cell into names of fields. It is likely if the cell has such a
    character, unless `mapping` and a `header` of False together say that the cell is a text. Commas do not make it
    likely, because they are common in texts.
    """
    if len(first) != 1:
        return
    certain = header_delimiter(first[0])
    likely = next((other for other in ";\t|" if other in first[0]), None)
    found = certain or (None if header is False and mapping.expressions else likely)
    if found in {None, delimiter}:
        return
    mark = "tab" if found == "\t" else f"'{found}'"
    otherwise = "" if certain else "; if it is one text, give --no-header --map text=column1"
    raise InputError(
        f"{name}: the first row has one column, with {_DELIMITERS[found]} in it: {_shown(first[0])}; read it with "
        f"--format csv --delimiter {mark}{otherwise}"
    )


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _folded(cells: Sequence[str]) -> list[str]:
    """Returns cells of a header as names, for comparing them."""
    return [cell.strip().strip('"').casefold() for cell in cells]


def _names_fields(cells: Sequence[str]) -> bool:
    return "text" in cells or len(set(cells) & set(FIELDS)) >= 2


def _numbers(cells: Sequence[str], column: str) -> str:
    return " or ".join(f"column{number}" for number, cell in enumerate(cells, start=1) if cell == column)


def _first_row(cells: Sequence[str]) -> str:
    shown = ", ".join(_shown(cell) for cell in cells[:12])
    more = f" and {len(cells) - 12} more" if len(cells) > 12 else ""
    return f"its first row has {counted(len(cells), 'column')}: {shown}{more}"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else f"{cell[:60]}…")
