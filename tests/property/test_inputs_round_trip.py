"""Texts that are written in a format are read back unchanged, for all texts and sizes of chunks."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.shapes.fields import is_removed
from streams.ingest.lines import LineReader
from streams.ingest.reading import read_rows
from streams.ingest.rows import InputFormat, Refusal, Row
from tests.input_support import spec

# Without NUL, which is replaced, and lone surrogates, which UTF-8 cannot encode.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS, min_size=1, max_size=40).filter(lambda text: bool(text.strip()) and not is_removed(text))
ONE_LINE = TEXT.filter(lambda text: "\n" not in text and not text.endswith("\r") and not text.startswith("\ufeff"))
CELL = ONE_LINE.filter(lambda text: "\t" not in text)


class ChunkedStream(io.BytesIO):
    """A stream that returns at most `size` bytes from a read."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self._size)


def read(content: bytes, input_format: InputFormat, chunk: int, header: bool | None = None) -> list[Row | Refusal]:
    reader = LineReader(ChunkedStream(content, chunk), name="input")
    fields = {"text": "column1"} if header is False else {}
    items = list(read_rows(reader, spec(input_format, fields, header, 1_000)))
    assert reader.position == len(content)
    return items


CHUNKS = st.integers(1, 64)


@given(st.lists(TEXT), CHUNKS, st.booleans())
def test_json_lines(texts: list[str], chunk: int, ascii_only: bool) -> None:
    content = "".join(
        json.dumps({"text": text, "id": str(i)}, ensure_ascii=ascii_only) + "\n" for i, text in enumerate(texts)
    )
    rows = read(content.encode(), InputFormat.JSONL, chunk)
    assert rows == [Row(i + 1, text, {"id": str(i)}) for i, text in enumerate(texts)]


@given(st.lists(st.tuples(TEXT, TEXT)), CHUNKS, st.sampled_from(["\n", "\r\n"]))
def test_csv(rows: list[tuple[str, str]], chunk: int, ending: str) -> None:
    out = io.StringIO()
    # Before Python 3.13 the writer does not quote a lone CR if lines end with LF.
    quoting = csv.QUOTE_ALL if ending == "\n" else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=ending, quoting=quoting)
    writer.writerow(["id", "text"])
    writer.writerows(rows)
    read_back = read(out.getvalue().encode(), InputFormat.CSV, chunk)
    assert [(row.values["id"], row.text) for row in read_back if isinstance(row, Row)] == rows
    assert len(read_back) == len(rows)


@given(st.lists(st.tuples(CELL, CELL)), CHUNKS)
def test_tsv(rows: list[tuple[str, str]], chunk: int) -> None:
    content = "".join(f"{text}\t{label}\n" for text, label in rows).encode()
    read_back = read(content, InputFormat.TSV, chunk, header=False)
    assert [(row.line, row.text) for row in read_back if isinstance(row, Row)] == [
        (i, text) for i, (text, _) in enumerate(rows, start=1)
    ]


@given(st.lists(ONE_LINE), CHUNKS)
def test_text(texts: list[str], chunk: int) -> None:
    content = "\n".join(texts).encode()
    assert read(content, InputFormat.TEXT, chunk) == [Row(i, text) for i, text in enumerate(texts, start=1)]


BY_LINE = [InputFormat.JSONL, InputFormat.CSV, InputFormat.TSV, InputFormat.TEXT]


@given(st.binary(max_size=200), CHUNKS, st.sampled_from(BY_LINE))
def test_any_bytes_become_rows_and_refusals_in_order(content: bytes, chunk: int, input_format: InputFormat) -> None:
    is_table = input_format in {InputFormat.CSV, InputFormat.TSV}
    items = read(content, input_format, chunk, header=False if is_table else None)
    lines = [item.line for item in items]
    assert lines == sorted(lines)
    assert set(lines) <= set(range(1, content.count(b"\n") + 2))
    if input_format is InputFormat.TEXT:
        assert len(set(lines)) == len(lines)
