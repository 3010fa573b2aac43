from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from streams.decode import decode_post
from streams.records import DeadPost, DeadReason, Origin, Post, rfc3339
from tests.helpers import NOON

ORIGIN = Origin(topic="posts.raw", partition=3, offset=14)


def decode(value: bytes | None, **limits: Any) -> Post | DeadPost:
    options: dict[str, Any] = {"text_max_chars": 10, "max_future": timedelta(seconds=300), "now": NOON, **limits}
    return decode_post(value, b"key", ORIGIN, **options)


def raw(**fields: Any) -> bytes:
    return json.dumps(
        {"id": "1", "text": "hello", "created_at": rfc3339(NOON), "source": "web", **fields}, ensure_ascii=False
    ).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, DeadReason.EMPTY_MESSAGE),
        (b"", DeadReason.EMPTY_MESSAGE),
        (b" ", DeadReason.INVALID_JSON),
        (b"not json", DeadReason.INVALID_JSON),
        (b'{"id": "1"', DeadReason.INVALID_JSON),
        (raw() + b"}", DeadReason.INVALID_JSON),
        (raw().replace(b"hello", b"h\xffllo"), DeadReason.INVALID_JSON),
        (raw().replace(b"hello", b"\\ud800"), DeadReason.INVALID_JSON),
        (b"\xef\xbb\xbf" + raw(), DeadReason.INVALID_JSON),
        (raw().decode().encode("utf-16"), DeadReason.INVALID_JSON),
        (b"[" * 100_000, DeadReason.INVALID_JSON),
        (b"null", DeadReason.INVALID_RECORD),
        (b"[]", DeadReason.INVALID_RECORD),
        (b'"post"', DeadReason.INVALID_RECORD),
        (b"{}", DeadReason.INVALID_RECORD),
        (raw(id=""), DeadReason.INVALID_RECORD),
        (raw().replace(b'"1"', b"9" * 5_000), DeadReason.INVALID_JSON),
        (raw(text=None), DeadReason.INVALID_RECORD),
        (raw(text="a\0"), DeadReason.INVALID_RECORD),
        (raw(created_at="2026-03-01T12:00:00"), DeadReason.INVALID_RECORD),
        (raw(created_at="9999-12-31T23:59:59-01:00"), DeadReason.INVALID_RECORD),
        (raw(keywords=["*"]), DeadReason.INVALID_RECORD),
        (raw(text=""), DeadReason.EMPTY_TEXT),
        (raw(text=" \n\t\u3000\u00a0"), DeadReason.EMPTY_TEXT),
        (raw(text="x" * 11), DeadReason.TEXT_TOO_LONG),
        (raw(text="x" + " " * 10), DeadReason.TEXT_TOO_LONG),
        (raw(created_at="2026-03-01T12:05:00.001Z"), DeadReason.FUTURE_TIMESTAMP),
        (raw(created_at="9999-12-31T23:59:59Z"), DeadReason.FUTURE_TIMESTAMP),
    ],
)
def test_what_is_not_a_post_is_a_dead_letter_with_its_reason(value: bytes | None, reason: DeadReason) -> None:
    letter = decode(value)
    assert isinstance(letter, DeadPost)
    assert letter.reason is reason
    assert base64.b64decode(letter.raw) == (value or b"")
    assert (letter.key, letter.origin) == ("key", ORIGIN)
    assert letter.error
    assert "\n" not in letter.error


@pytest.mark.parametrize(
    "value",
    [
        raw(),
        raw(text="x" * 10),
        raw(text="日" * 10),
        raw(text="\N{GRINNING FACE}" * 10),
        raw(created_at="2026-03-01T12:05:00.000Z"),
        raw(created_at="1970-01-01T00:00:00Z"),
        b" \n" + raw() + b"\n",
    ],
)
def test_posts_at_the_limits_are_posts(value: bytes) -> None:
    assert isinstance(decode(value), Post)


def test_no_future_at_all() -> None:
    assert isinstance(decode(raw(), max_future=timedelta(0)), Post)
    later = decode(raw(created_at="2026-03-01T12:00:00.001Z"), max_future=timedelta(0))
    assert isinstance(later, DeadPost)


def test_the_error_does_not_quote_the_post() -> None:
    letter = decode(raw(id=["hunter"], source={"hunter": 1}))
    assert isinstance(letter, DeadPost)
    assert "hunter" not in letter.error
