"""Reads inputs for tests, from bytes in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping

from streams.ingest.lines import LineReader
from streams.ingest.reading import InputSpec, read_rows
from streams.ingest.rows import InputFormat, Refusal, Row


def read(
    content: bytes,
    input_format: str,
    columns: Mapping[str, str] | None = None,
    header: bool | None = None,
    text_max_chars: int = 100,
) -> list[Row | Refusal]:
    spec = InputSpec(InputFormat(input_format), text_max_chars, columns or {}, header)
    return list(read_rows(LineReader(io.BytesIO(content), name="input"), spec))


def texts(items: list[Row | Refusal]) -> list[str]:
    assert all(isinstance(item, Row) for item in items), items
    return [item.text for item in items if isinstance(item, Row)]


def refusals(items: list[Row | Refusal]) -> list[tuple[int, str]]:
    return [(item.line, str(item.reason)) for item in items if isinstance(item, Refusal)]
