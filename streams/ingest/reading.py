"""Reads an input in any of the formats, row by row.

A row that cannot be used becomes a `Refusal` with its line and the reason, and reading continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from pydantic_core import from_json

from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import Shape
from streams.errors import InputError
from streams.ingest.compression import SUFFIXES
from streams.ingest.documents import Document, elements, json_lines
from streams.ingest.layout import Layout, choose_delimiter, header_delimiter, layout
from streams.ingest.lines import STDIN, LineReader, name_of, open_lines, size_of
from streams.ingest.parquet import parquet_rows
from streams.ingest.rows import InputFormat, Refusal, RefusalReason, Row, RowRules
from streams.ingest.tables import Record, csv_records, decoded, tsv_records

_SUFFIXES = {
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".json": InputFormat.JSON,
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.TSV,
    ".tab": InputFormat.TSV,
    ".txt": InputFormat.TEXT,
    ".parquet": InputFormat.PARQUET,
}
_TABLES = frozenset({InputFormat.CSV, InputFormat.TSV})
_JSON = frozenset({InputFormat.JSONL, InputFormat.JSON, InputFormat.PARQUET})


@dataclass(frozen=True)
class InputSpec:
    """How to read an input.

    Attributes:
        format: its format.
        rules: which rows can be used.
        mapping: where the fields are that are not in the column, or the member, of their own name.
        shape: the shape of the input, instead of a mapping; None if it has none.
        header: whether the first row of CSV or TSV is a header; None to detect it.
        delimiter: the character between the cells of CSV; None to detect it.
        encoding: the encoding; None to detect it.
        assumed: whether nobody has named the format. Then lines of text that are evidently something else are an
            error.
    """

    format: InputFormat
    rules: RowRules
    mapping: FieldMap = field(default_factory=lambda: FieldMap({}))
    shape: Shape | None = None
    header: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None
    assumed: bool = False

    def __post_init__(self) -> None:
        """Check that the options fit the format.

        Raises:
            InputError: An option does not fit the format or another option.
        """
        if self.header is not None and (self.format not in _TABLES or self.shape is not None):
            raise InputError(f"only csv and tsv have a header; the format is {self.format}")
        if self.delimiter is not None and self.format is not InputFormat.CSV:
            raise InputError(f"only csv has a delimiter; the format is {self.format}")
        if self.encoding is not None and self.format is InputFormat.PARQUET:
            raise InputError("parquet has no encoding")
        if self.mapping.expressions and self.format is InputFormat.TEXT:
            raise InputError("the format text has no columns: every line is a post")
        if self.shape is not None:
            if self.mapping.expressions:
                raise InputError("a shape says where the fields are; give --shape or --map")
            if self.format not in (_TABLES if self.shape.is_table else _JSON):
                raise InputError(
                    f"the shape is that of {'csv' if self.shape.is_table else 'JSON'}, not of {self.format}"
                )


def guess_format(source: str, shape: Shape | None = None) -> InputFormat:
    """Returns the format that the suffix of a file's name stands for, before that of a compression.

    Args:
        source: the file's path.
        shape: the shape of the input. It tells the format if the suffix does not.

    Raises:
        InputError: The suffix is not known; or the file does not exist, or is a folder.
    """
    name = PurePath(source)
    if name.suffix.lower() in SUFFIXES:
        name = name.with_suffix("")
    if (found := _SUFFIXES.get(name.suffix.lower())) is not None:
        return found
    size_of(source)  # a missing file or a folder is the likelier mistake
    if shape is not None:
        return InputFormat.CSV if shape.is_table else InputFormat.JSONL
    known = ", ".join(InputFormat)
    raise InputError(f"{source}: the suffix does not tell the format; give --format with one of {known}")


def open_input(source: str, spec: InputSpec) -> AbstractContextManager[LineReader]:
    """Open a file, or standard input if `source` is `-`, for `read_rows`; see `open_lines`.

    Raises:
        InputError: The file does not exist, cannot be opened or decompressed, or is a folder.
    """
    return open_lines(source, encoding=spec.encoding, otherwise=spec.shape.encoding if spec.shape is not None else None)


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
            return _document_rows(json_lines(lines, clean=spec.rules.clean), spec)
        case InputFormat.JSON:
            return _document_rows(elements(lines), spec)
        case InputFormat.PARQUET:
            if lines.name == name_of(STDIN):
                raise InputError("Parquet is read from its end, so it cannot come from standard input; give a file")
            return _document_rows(parquet_rows(lines.name), spec)
        case InputFormat.CSV | InputFormat.TSV:
            return _table_rows(lines, spec)


def read_texts(file: Path, *, text_max_chars: int) -> list[str]:
    """Read all texts of a file, in the format that its suffix stands for.

    Raises:
        InputError: The file cannot be read, holds no text, or a row cannot be used; the message names the first one.
    """
    spec = InputSpec(guess_format(str(file)), RowRules(text_max_chars, times=False))
    texts = []
    with open_input(str(file), spec) as lines:
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
            yield spec.rules.row(line.number, {"text": line.text})


def _other_format(line: str) -> InputFormat | None:
    """Returns the format of which a line is evidently the first one: a JSON object, or a header of CSV or TSV."""
    try:
        if isinstance(from_json(line), dict):
            return InputFormat.JSONL
    except ValueError:
        pass
    # Sentences may hold the names of fields between commas; a header seldom has a space in it.
    if " " not in line and (delimiter := header_delimiter(line)) is not None:
        return InputFormat.TSV if delimiter == "\t" else InputFormat.CSV
    return None


def _document_rows(documents: Iterable[Document | Refusal], spec: InputSpec) -> Iterator[Row | Refusal]:
    for item in documents:
        yield item if isinstance(item, Refusal) else _document_row(item, spec)


def _document_row(document: Document, spec: InputSpec) -> Row | Refusal:
    number, members, was_cleaned = document
    if spec.shape is not None:
        return spec.rules.row_of_event(number, spec.shape.event(members), was_cleaned=was_cleaned)
    try:
        values = spec.mapping.values(members)
    except ValueError as exc:
        return Refusal(number, RefusalReason.INVALID_FIELD, str(exc))
    return spec.rules.row(number, values, was_cleaned=was_cleaned)


def _table_rows(lines: LineReader, spec: InputSpec) -> Iterator[Row | Refusal]:
    delimiter = "\t" if spec.format is InputFormat.TSV else spec.delimiter

    def choose(first: str) -> str:
        nonlocal delimiter
        if delimiter is None:
            known = spec.mapping.roots
            delimiter = "," if spec.shape is not None else choose_delimiter(first, known, spec.header)
        return delimiter

    table: Layout | None = None
    records = tsv_records(lines) if spec.format is InputFormat.TSV else csv_records(lines, choose)
    for record in records:
        if isinstance(record, Refusal):
            yield record
        elif spec.shape is not None:
            yield spec.rules.row_of_event(record.line, spec.shape.event(record.cells))
        elif table is None:
            table = layout(record.cells, spec.mapping, spec.header, lines.name, delimiter or ",")
            if not table.header:
                yield _table_row(record, table, spec)
        else:
            yield _table_row(record, table, spec)


def _table_row(record: Record, table: Layout, spec: InputSpec) -> Row | Refusal:
    number, cells = record
    if len(cells) > table.width:
        detail = f"the row has {len(cells)} columns, the first row has {table.width}"
        return Refusal(number, RefusalReason.WRONG_COLUMNS, detail)
    try:
        values = table.values(cells)
    except ValueError as exc:
        return Refusal(number, RefusalReason.INVALID_FIELD, str(exc))
    return spec.rules.row(number, values)
