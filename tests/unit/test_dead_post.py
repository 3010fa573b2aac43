"""A dead letter keeps the bytes of its message, and is written under its key."""

from __future__ import annotations

import base64
import json

import pytest

from connectors.kafka.producer import MAX_MESSAGE_BYTES
from streams.dead_letters import dead_letter, outgoing
from streams.records import DeadPost, DeadReason, Origin
from streams.records.posts import MAX_RAW_BYTES
from tests.helpers import message

RAW = [b"", b"\x00\xff", "text".encode("utf-16")]


@pytest.mark.parametrize("raw", RAW)
def test_a_dead_letter_holds_the_raw_bytes(raw: bytes) -> None:
    letter = DeadPost.of(raw, b"\xffkey", Origin(topic="t", partition=1, offset=2), DeadReason.INVALID_JSON, "why")
    assert base64.b64decode(letter.raw) == raw
    assert letter.key == "\N{REPLACEMENT CHARACTER}key"
    assert DeadPost.from_json(letter.to_json()).raw == letter.raw


@pytest.mark.parametrize("key", [*RAW, None, b"\xef\xbf\xbd", b"k" * 5_000, b"\xff" * MAX_RAW_BYTES])
def test_a_dead_letter_is_written_under_the_key_of_its_message(key: bytes | None) -> None:
    letter = dead_letter(message(b"no post", key=key), DeadReason.INVALID_JSON, "why")
    written = outgoing(letter, "posts.dead")
    assert written.key == key
    assert DeadPost.from_json(written.value).key_bytes() == key


def test_a_dead_letter_of_version_0_1_is_read() -> None:
    """It has only the key as text."""
    fields = json.loads(dead_letter(message(b"no post", key=b"17"), DeadReason.INVALID_JSON, "why").to_json())
    del fields["raw_key"], fields["raw_key_bytes"]
    assert DeadPost.from_json(json.dumps(fields).encode()).key_bytes() == b"17"
    fields["key"] = None
    assert DeadPost.from_json(json.dumps(fields).encode()).key_bytes() is None


def test_a_tombstone_without_a_key_has_neither() -> None:
    letter = DeadPost.of(None, None, Origin(topic="t", partition=1, offset=2), DeadReason.EMPTY_MESSAGE, "why")
    assert (letter.raw, letter.key, letter.raw_key) == ("", None, None)


def test_a_dead_letter_of_a_huge_message_is_cut_to_fit() -> None:
    """Kafka limits the compressed bytes, so a message may be larger than the largest record that we can write."""
    raw, key = b"x" * (3 * MAX_RAW_BYTES), b"\x01" * (2 * MAX_RAW_BYTES)  # each byte of the text is six in JSON
    letter = dead_letter(message(raw, key=key), DeadReason.TEXT_TOO_LONG, "why")
    assert base64.b64decode(letter.raw) == raw[:MAX_RAW_BYTES]
    assert (letter.raw_bytes, letter.raw_key_bytes) == (len(raw), len(key))
    written = outgoing(letter, "posts.dead")
    assert written.key == key[:MAX_RAW_BYTES]
    assert len(written.value) + len(written.key or b"") < MAX_MESSAGE_BYTES


def test_a_dead_letter_of_a_message_that_is_too_long_holds_its_beginning() -> None:
    raw = b"x" * 900_000
    letter = DeadPost.of(raw, b"key", Origin("t", 1, 2), DeadReason.RECORD_TOO_LONG, "why")
    assert (base64.b64decode(letter.raw), letter.raw_bytes) == (raw[:16_384], 900_000)
