"""Lines of a stream -> server-sent events."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.sse import ServerSentEvent, SseParser


def parse(*lines: bytes | None, max_bytes: int = 1_000) -> list[ServerSentEvent]:
    parser = SseParser(max_bytes=max_bytes)
    return [event for line in lines if (event := parser.add(line)) is not None]


def test_events_have_a_kind_and_data() -> None:
    assert parse(b"event: update", b"data: {}", b"") == [ServerSentEvent("update", "{}")]
    assert parse(b"data:a", b"data:  b", b"data", b"") == [ServerSentEvent("message", "a\n b\n")]


def test_what_has_no_data_is_no_event() -> None:
    assert parse(b"", b":thump", b"event: update", b"", b"retry: 5", b"id: 7", b"", b"unknown: x", b"") == []


def test_an_event_without_its_end_is_none() -> None:
    assert parse(b"event: update", b"data: {}") == []


def test_an_event_that_is_too_large_says_so() -> None:
    too_large = ServerSentEvent("update", "", too_large=True)
    assert parse(b"event: update", None, b"") == [too_large]
    assert parse(b"event: update", *[b"data: " + b"x" * 400] * 3, b"") == [too_large]
    assert parse(b"event: update", *[b"data:"] * 1_001, b"") == [too_large]
    assert parse(None, b"", b"data: next", b"")[-1] == ServerSentEvent("message", "next")


@given(st.lists(st.none() | st.binary(max_size=30).filter(lambda line: b"\n" not in line)))
def test_any_lines_can_be_read(lines: list[bytes | None]) -> None:
    assert all(event.data or event.too_large or event.kind for event in parse(*lines))


@given(st.lists(st.tuples(st.sampled_from(["update", "delete"]), st.text(max_size=40))))
def test_what_was_written_is_read(events: list[tuple[str, str]]) -> None:
    lines = []
    for kind, text in events:
        lines += [f"event: {kind}".encode(), b"data: " + json.dumps(text).encode(), b"", b":thump"]
    assert [(event.kind, json.loads(event.data)) for event in parse(*lines)] == events
