"""Reads inputs for tests, from bytes in memory and from files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import SHAPES
from streams.ingest.lines import LineReader
from streams.ingest.posts import PostMaker
from streams.ingest.reading import InputSpec, guess_format, open_input, read_rows
from streams.ingest.rows import InputFormat, Refusal, Row, RowRules
from streams.ingest.tally import Tally
from streams.records import Post, Timestamp

NOW = Timestamp(2026, 3, 1, 12, tzinfo=UTC)


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


def json_lines(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def spec_of(
    file: Path, *, shape: str | None = None, fields: dict[str, str] | None = None, zone: Any = None, **options: Any
) -> InputSpec:
    found = SHAPES[shape] if shape is not None else None
    rules = RowRules(5_000, zone=zone)
    return InputSpec(guess_format(str(file), found), rules, FieldMap.parse(fields or {}), found, **options)


def rows_of(file: Path, **options: Any) -> list[Row | Refusal]:
    spec = spec_of(file, **options)
    with open_input(str(file), spec) as lines:
        return list(read_rows(lines, spec))


def posts_of(file: Path, content: bytes, **options: Any) -> tuple[list[Post], Tally]:
    file.write_bytes(content)
    maker, tally, posts = PostMaker("s", now=lambda: NOW, run="run"), Tally(), []
    for row in tally.accepted(rows_of(file, **options)):
        post = maker.make(row)
        assert isinstance(post, Post), post
        posts.append(post)
    return posts, tally
