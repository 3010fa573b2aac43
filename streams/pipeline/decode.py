"""Decodes a message of the raw topic: to a post that can be classified, or to the reason of a dead letter. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from streams.characters import cleaned_json, cut
from streams.records import DeadReason, MalformedRecordError, Post, RecordError

MAX_OTHER_BYTES = 262_144
"""The most bytes of a record besides its text. The fields of a post have fewer, even if each character is escaped."""

MAX_CHAR_BYTES = 12
"""The most bytes of a character in JSON: two escapes such as `\\ud83d\\ude00`."""


class Rejection(NamedTuple):
    """Why a message cannot be classified; `error` is one line for people."""

    reason: DeadReason
    error: str


@dataclass
class Repairs:
    """Which messages are repaired instead of rejected, and how many were.

    Attributes:
        characters: whether U+0000 and lone surrogates become U+FFFD.
        long_texts: whether a text over the limit is cut.
        cleaned: posts with replaced characters.
        cut: posts whose text was cut.
    """

    characters: bool = False
    long_texts: bool = False
    cleaned: int = 0
    cut: int = 0


def decode_post(
    value: bytes | None, *, text_max_chars: int, max_future_ms: int, now_ms: int, repairs: Repairs | None = None
) -> Post | Rejection:
    """Decode a post, and check that it can be classified.

    Args:
        value: the message's value; None for a tombstone.
        text_max_chars: length of the longest allowed text, in characters.
        max_future_ms: how far `created_at` may be after `now_ms`, in milliseconds.
        now_ms: the time at which the post arrived, in milliseconds since 1970.
        repairs: what is repaired; None for nothing. A post that was repaired is counted there.

    Returns:
        The post, or the reason of its dead letter.
    """
    if not value:
        return Rejection(DeadReason.EMPTY_MESSAGE, "the message has no value")
    # Before it is parsed: parsing takes a multiple of its memory.
    if len(value) > (limit := MAX_OTHER_BYTES + MAX_CHAR_BYTES * text_max_chars):
        return Rejection(DeadReason.RECORD_TOO_LONG, f"the record has {len(value)} bytes; {limit} are allowed")
    repairs = repairs or Repairs()
    post = _parsed(value)
    # Only now, because almost no post needs it.
    if isinstance(post, Rejection) and repairs.characters and (clean := cleaned_json(value)) != value:
        repaired = _parsed(clean)
        if isinstance(repaired, Post):
            post = repaired
            repairs.cleaned += 1
    if isinstance(post, Rejection):
        return post
    if repairs.long_texts and len(post.text) > text_max_chars and not post.text.isspace():
        post = replace(post, text=cut(post.text.lstrip(), text_max_chars), truncated=True)
        repairs.cut += 1
    return _rejection(post, text_max_chars, max_future_ms, now_ms) or post


def _parsed(value: bytes) -> Post | Rejection:
    try:
        return Post.from_json(value)
    except MalformedRecordError as exc:
        return Rejection(DeadReason.INVALID_JSON, str(exc))
    except RecordError as exc:
        return Rejection(DeadReason.INVALID_RECORD, str(exc))


def _rejection(post: Post, text_max_chars: int, max_future_ms: int, now_ms: int) -> Rejection | None:
    """Returns why a valid post cannot be classified; None if it can."""
    if not post.text or post.text.isspace():
        return Rejection(DeadReason.EMPTY_TEXT, "text: is empty")
    if len(post.text) > text_max_chars:
        error = f"text: has {len(post.text)} characters; {text_max_chars} are allowed"
        return Rejection(DeadReason.TEXT_TOO_LONG, error)
    if post.created_at.ms > now_ms + max_future_ms:
        error = f"created_at: {post.created_at.rfc3339()} is more than {max_future_ms / 1_000:.0f} s in the future"
        return Rejection(DeadReason.FUTURE_TIMESTAMP, error)
    return None
