from __future__ import annotations

import json
from typing import Any

import pytest

from streams.pipeline.decode import Rejection, Repairs, decode_post
from streams.records import DeadReason, Post, rfc3339
from tests.helpers import NOON, NOON_MS


def decode(value: bytes | None, **limits: Any) -> Post | Rejection:
    options: dict[str, Any] = {"text_max_chars": 10, "max_future_ms": 300_000, "now_ms": NOON_MS, **limits}
    return decode_post(value, **options)


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
        (b'{"more": ' + b"[" * 100_000, DeadReason.INVALID_JSON),
        (b"null", DeadReason.INVALID_RECORD),
        (b"[]", DeadReason.INVALID_RECORD),
        (b'"post"', DeadReason.INVALID_RECORD),
        (b"{}", DeadReason.INVALID_RECORD),
        (raw(id=""), DeadReason.INVALID_RECORD),
        (raw().replace(b'"1"', b"9" * 5_000), DeadReason.INVALID_RECORD),
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
def test_a_message_that_is_not_a_post_is_rejected_with_a_reason(value: bytes | None, reason: DeadReason) -> None:
    found = decode(value)
    assert isinstance(found, Rejection)
    assert found.reason is reason
    assert found.error
    assert "\n" not in found.error


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
def test_posts_at_the_limits_are_accepted(value: bytes) -> None:
    assert isinstance(decode(value), Post)


def test_with_a_limit_of_zero_no_post_may_be_in_the_future() -> None:
    assert isinstance(decode(raw(), max_future_ms=0), Post)
    later = decode(raw(created_at="2026-03-01T12:00:00.001Z"), max_future_ms=0)
    assert isinstance(later, Rejection)


def test_the_error_does_not_quote_the_post() -> None:
    found = decode(raw(id=["hunter"], source={"hunter": 1}))
    assert isinstance(found, Rejection)
    assert "hunter" not in found.error


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.500Z"),
        ("2026-03-01T12:00:00.123999Z", "2026-03-01T12:00:00.123Z"),
        ("2026-03-01T12:00:00.123999+00:00", "2026-03-01T12:00:00.123Z"),
        ("2026-03-01T13:30:00.25+01:30", "2026-03-01T12:00:00.250Z"),
        ("2026-03-01 12:00:00Z", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01t12:00:00z", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01T12:00Z", "2026-03-01T12:00:00.000Z"),
    ],
)
def test_a_time_is_converted_to_utc_with_milliseconds(written: str, read: str) -> None:
    post = decode(raw(created_at=written))
    assert isinstance(post, Post)
    assert post.created_at.rfc3339() == read


def test_keywords_are_cleaned() -> None:
    for written, read in [([" a", "b", "a "], ["a", "b"]), ([""], []), ([], []), (None, [])]:
        post = decode(raw(keywords=written))
        assert isinstance(post, Post)
        assert list(post.keywords) == read


def test_a_record_that_is_too_long_is_rejected_before_it_is_parsed() -> None:
    """Its unknown field may be anything; even JSON that ends nowhere is not looked at."""
    limit = 262_144 + 12 * 10
    fits = raw(more="x" * (limit - len(raw(more=""))))
    assert (len(fits), type(decode(fits))) == (limit, Post)
    for value in (fits + b" ", b"[" * (limit + 1)):
        found = decode(value)
        assert isinstance(found, Rejection)
        assert found == (DeadReason.RECORD_TOO_LONG, f"the record has {limit + 1} bytes; {limit} are allowed")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (raw(text="a\0b"), "a\ufffdb"),
        (raw().replace(b"hello", b"a\\ud83d"), "a\ufffd"),
        (raw().replace(b"hello", b"\\udc00\\ud83d"), "\ufffd\ufffd"),
        (raw().replace(b"hello", b"\\\\ud83d"), "\\ud83d"),
        (raw().replace(b"hello", b"a\xed\xa0\xbdb"), "a\ufffdb"),
        (raw().replace(b"hello", b"\xed\xa0\xbd\xed\xb8\x80\\u0000"), "\U0001f600\ufffd"),
    ],
)
def test_characters_that_cannot_be_stored_are_replaced_and_counted(value: bytes, text: str) -> None:
    repairs = Repairs(characters=True)
    post = decode(value, repairs=repairs)
    assert isinstance(post, Post)
    assert post.text == text
    assert repairs.cleaned == ("\ufffd" in text)


def test_characters_are_replaced_in_every_field() -> None:
    repairs = Repairs(characters=True)
    fields = {"keywords": ["k\0"], "lang": "l\0", "author": "a\0", "url": "u\0", "source": "s\0", "id": "i\0"}
    post = decode(raw(**fields), repairs=repairs)
    assert isinstance(post, Post)
    assert (post.id, post.source, post.keywords) == ("i\ufffd", "s\ufffd", ("k\ufffd",))
    assert (post.lang, post.author, post.url) == ("l\ufffd", "a\ufffd", "u\ufffd")
    assert repairs.cleaned == 1


def test_a_message_that_repairs_do_not_help_has_the_reason_that_is_left() -> None:
    repairs = Repairs(characters=True)
    assert decode(b"\\u0000", repairs=repairs) == decode(b"\\u0000")
    found = decode(raw(text="a\0", id=7), repairs=repairs)
    assert isinstance(found, Rejection)
    assert found.error == "id: Expected `str`, got `int`"
    assert repairs.cleaned == 0


def test_a_long_text_is_cut_and_marked_if_that_is_wanted() -> None:
    repairs = Repairs(long_texts=True)
    post = decode(raw(text="x" * 11), repairs=repairs)
    assert isinstance(post, Post)
    assert (post.text, post.truncated, repairs.cut) == ("x" * 10, True, 1)
    assert decode(raw(text="x" * 10), repairs=repairs) == decode(raw(text="x" * 10))
    assert repairs.cut == 1


@pytest.mark.parametrize("number", [12345, 9007199254740993, 99999999999999999999999999])
def test_a_numeric_id_is_refused_by_its_name(number: int) -> None:
    found = decode(raw(id=number))
    assert isinstance(found, Rejection)
    assert found.error.startswith("id: ")


def test_a_member_that_is_there_twice_has_its_last_value() -> None:
    post = decode(raw().replace(b'"text": "hello"', b'"text": "first", "text": "second"'))
    assert isinstance(post, Post)
    assert post.text == "second"


def test_numbers_that_are_not_json_are_refused_in_unknown_members_too() -> None:
    found = decode(raw()[:-1] + b', "likes": NaN, "score": -Infinity}')
    assert isinstance(found, Rejection)
    assert found.reason is DeadReason.INVALID_JSON


@pytest.mark.parametrize("text_max_chars", [1, 5_000, 200_000])
def test_no_post_of_known_fields_is_too_long(text_max_chars: int) -> None:
    """Each field is as long as it may be, and each character is as long as JSON can write it."""
    wide = chr(0x1F600)
    post = {
        "id": wide * 512,
        "text": wide * text_max_chars,
        "created_at": rfc3339(NOON),
        "source": wide * 200,
        "keywords": [chr(0x1F600 + i) * 200 for i in range(64)],
        "lang": wide * 35,
        "author": wide * 512,
        "url": wide * 4_096,
    }
    assert isinstance(decode(json.dumps(post).encode(), text_max_chars=text_max_chars), Post)
