"""Reads an input in any of the formats, row by row.

A row that cannot be used becomes a `Refusal` with its line and the reason, and reading continues.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from pydantic_core import from_json

from streams.errors import InputError
from streams.ingest.lines import LineReader, open_lines, size_of
from streams.ingest.rows import FIELDS, InputFormat, Refusal, RefusalReason, Row, make_row
from streams.ingest.tables import (
    NOT_UTF8,
    TOO_LONG,
    Layout,
    csv_records,
    decoded,
    header_separator,
    layout,
    tsv_records,
)

_SUFFIXES = {
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.TSV,
    ".tab": InputFormat.TSV,
    ".txt": InputFormat.TEXT,
}


@dataclass(frozen=True)
class InputSpec:
    """How to read an input.

    Attributes:
        format: its format.
        text_max_chars: the longest text, in characters.
        columns: the column of a field of `FIELDS` by its name or number (CSV, TSV), or its key (JSON lines).
        header: whether the first row of CSV or TSV is a header; None to detect it.
        assumed: whether nobody has named the format. Then lines of text that are evidently something else are an
            error.
    """

    format: InputFormat
    text_max_chars: int
    columns: Mapping[str, str] = field(default_factory=dict)
    header: bool | None = None
    assumed: bool = False

    def __post_init__(self) -> None:
        """Check that the options fit the format.

        Raises:
            InputError: `columns` or `header` do not fit the format, or `columns` has a name that is not in `FIELDS`.
        """
        is_table = self.format in {InputFormat.CSV, InputFormat.TSV}
        if unknown := sorted(set(self.columns) - set(FIELDS)):
            raise InputError(f"a post has no field {unknown[0]!r}; its fields are {', '.join(FIELDS)}")
        if self.header is not None and not is_table:
            raise InputError(f"only csv and tsv have a header; the format is {self.format}")
        if self.columns and self.format is InputFormat.TEXT:
            raise InputError("the format text has no columns: every line is a post")


def guess_format(source: str) -> InputFormat:
    """Returns the format that the suffix of a file's name stands for.

    Raises:
        InputError: The suffix is not known; or the file does not exist, or is a folder.
    """
    try:
        return _SUFFIXES[PurePath(source).suffix.lower()]
    except KeyError:
        size_of(source)  # a missing file or a folder is the likelier mistake
        known = ", ".join(InputFormat)
        raise InputError(f"{source}: the suffix does not tell the format; give --format with one of {known}") from None


def read_rows(lines: LineReader, spec: InputSpec) -> Iterator[Row | Refusal]:
    """Read an input lazily, in order. Blank lines are skipped.

    Raises:
        InputError: The input cannot be read, lacks a column of the text or a column that `spec` names, or evidently
            has another format.
    """
    match spec.format:
        case InputFormat.TEXT:
            return _text_rows(lines, spec)
        case InputFormat.JSONL:
            return _json_rows(lines, spec)
        case InputFormat.CSV | InputFormat.TSV:
            return _table_rows(lines, spec)


def read_texts(file: Path, *, text_max_chars: int) -> list[str]:
    """Read all texts of a file, in the format that its suffix stands for.

    Raises:
        InputError: The file cannot be read, holds no text, or a row cannot be used; the message names the first one.
    """
    spec = InputSpec(guess_format(str(file)), text_max_chars=text_max_chars)
    texts = []
    with open_lines(str(file)) as lines:
        for row in read_rows(lines, spec):
            if isinstance(row, Refusal):
                raise InputError(f"{file}, line {row.line}: {row.detail}")
            texts.append(row.text)
    if not texts:
        raise InputError(f"{file} holds no text")
    return texts


def _text_rows(lines: LineReader, spec: InputSpec) -> Iterator[Row | Refusal]:
    is_first = True
    for line in decoded(lines):
        if isinstance(line, Refusal):
            yield line
        elif line.text.strip():
            if is_first and spec.assumed and (found := _other_format(line.text)) is not None:
                raise InputError(
                    f"{lines.name} seems to be {found}, not text with a post a line; give --format {found}, or "
                    "--format text if it is text"
                )
            is_first = False
            yield make_row(line.number, {"text": line.text}, text_max_chars=spec.text_max_chars)


def _other_format(line: str) -> InputFormat | None:
    """Returns the format of which a line is evidently the first one: a JSON object, or a header of CSV or TSV."""
    try:
        if isinstance(from_json(line), dict):
            return InputFormat.JSONL
    except ValueError:
        pass
    # Sentences may hold the names of fields between commas; a header seldom has a space in it.
    if " " not in line and (separator := header_separator(line)) is not None:
        return InputFormat.TSV if separator == "\t" else InputFormat.CSV
    return None


def _json_rows(lines: LineReader, spec: InputSpec) -> Iterator[Row | Refusal]:
    keys = {name: spec.columns.get(name, name) for name in FIELDS}
    for number, data in lines:
        if data is None:
            yield Refusal(number, RefusalReason.LINE_TOO_LONG, TOO_LONG)
        elif data.strip():
            yield _json_row(number, data, keys, spec.text_max_chars)


def _json_row(number: int, data: bytes, keys: Mapping[str, str], text_max_chars: int) -> Row | Refusal:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return Refusal(number, RefusalReason.INVALID_UTF8, NOT_UTF8)
    try:
        content = from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        if not data.lstrip().startswith((b"{", b"[")):
            detail = "the line is not JSON; --format text reads plain text, with a post a line"
        else:
            # The parser takes this line for the first one of a document.
            detail = str(exc).replace(" at line 1 column ", " at column ")
        return Refusal(number, RefusalReason.INVALID_JSON, detail)
    if not isinstance(content, dict):
        return Refusal(number, RefusalReason.INVALID_JSON, "the line is not a JSON object")
    values = {name: content[key] for name, key in keys.items() if key in content}
    return make_row(number, values, text_max_chars=text_max_chars)


def _table_rows(lines: LineReader, spec: InputSpec) -> Iterator[Row | Refusal]:
    is_csv = spec.format is InputFormat.CSV
    records, separator = (csv_records(lines), ",") if is_csv else (tsv_records(lines), "\t")
    table: Layout | None = None
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        number, cells = record
        if table is None:
            table = layout(cells, spec.columns, spec.header, lines.name, separator)
            if table.header:
                continue
        if len(cells) > table.width:
            detail = f"the row has {len(cells)} columns, the first row has {table.width}"
            yield Refusal(number, RefusalReason.WRONG_COLUMNS, detail)
        else:
            yield make_row(number, table.values(cells), text_max_chars=spec.text_max_chars)
