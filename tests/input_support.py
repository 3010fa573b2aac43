"""Reads inputs for tests, from bytes in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from connectors.sources.shapes.mapping import FieldMap
from streams.ingest.lines import LineReader
from streams.ingest.reading import InputSpec, read_rows
from streams.ingest.rows import InputFormat, Refusal, Row, RowRules


def spec(
    input_format: str,
    fields: Mapping[str, str] | None = None,
    header: bool | None = None,
    text_max_chars: int = 100,
    **options: Any,
) -> InputSpec:
    rules = RowRules(text_max_chars, **{name: options.pop(name) for name in ("zone", "clean") if name in options})
    return InputSpec(InputFormat(input_format), rules, FieldMap.parse(fields or {}), header=header, **options)


def read(
    content: bytes,
    input_format: str,
    fields: Mapping[str, str] | None = None,
    header: bool | None = None,
    text_max_chars: int = 100,
    **options: Any,
) -> list[Row | Refusal]:
    """Read an input that is UTF-8 and not compressed."""
    lines = LineReader(io.BytesIO(content), name="input")
    return list(read_rows(lines, spec(input_format, fields, header, text_max_chars, **options)))


def texts(items: list[Row | Refusal]) -> list[str]:
    assert all(isinstance(item, Row) for item in items), items
    return [item.text for item in items if isinstance(item, Row)]


def refusals(items: list[Row | Refusal]) -> list[tuple[int, str]]:
    return [(item.line, str(item.reason)) for item in items if isinstance(item, Refusal)]
