"""Decides what a message on the raw topic is: a post, or a dead letter and why. Pure.

This runs for every post, and to read a `Post` costs twice as much as all that is done here: its validators are
Python's. So what most producers write, a moment in UTC and no NUL character, is checked for types and lengths by
pydantic, and for the rest in a few lines. A `Post` decides on whatever else there is, and finds the words for what is
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, NamedTuple, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from streams.records import (
    Author,
    DeadReason,
    Keyword,
    Lang,
    Post,
    PostId,
    Source,
    Url,
    clean_keywords,
    explain,
    rfc3339,
    to_ms,
)

_IN_UTC: Final = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,6}))?(?:Z|\+00:00)$"
_CANONICAL_LENGTH: Final = len("2026-03-01T12:00:00.000Z")
"""As `rfc3339` writes it; of what `_IN_UTC` takes nothing else is as long."""
_NUL: Final = b"\\u0000"
"""The one way to write U+0000 in JSON. A text may hold these six characters as well; then a `Post` tells."""


class _UsualPost(TypedDict):
    """A `Post` but for its Python validators."""

    id: PostId
    text: Annotated[str, Field(strict=True)]
    created_at: Annotated[str, Field(strict=True, pattern=_IN_UTC)]
    source: Source
    keywords: NotRequired[list[Keyword] | None]
    lang: NotRequired[Lang | None]
    author: NotRequired[Author | None]
    url: NotRequired[Url | None]


_USUAL: Final[TypeAdapter[_UsualPost]] = TypeAdapter(_UsualPost)


class RawPost(NamedTuple):
    """A post as it was read.

    Attributes:
        id: of the post.
        text: of the post.
        created_at: as `rfc3339` has it.
        source: of the post.
        keywords: as `clean_keywords` has them.
        lang: of the post; None without one, as what follows.
        author: of the post.
        url: of the post.
        event_ms: `created_at`, in milliseconds since 1970.
    """

    id: str
    text: str
    created_at: str
    source: str
    keywords: Sequence[str]
    lang: str | None
    author: str | None
    url: str | None
    event_ms: int


class Rejection(NamedTuple):
    """Why a message is no post that can be classified."""

    reason: DeadReason
    error: str


def decode_post(value: bytes | None, *, text_max_chars: int, max_future_ms: int, now_ms: int) -> RawPost | Rejection:
    """Read a post.

    Args:
        value: the message as it is; None for a tombstone.
        text_max_chars: longest text, in characters.
        max_future_ms: how far `created_at` may be ahead of the present, in milliseconds.
        now_ms: the present time, in milliseconds since 1970.

    Returns:
        The post, or why it becomes a dead letter.
    """
    if not value:
        return Rejection(DeadReason.EMPTY_MESSAGE, "the message has no value")
    post = _usual(value) or _any(value)
    if isinstance(post, Rejection):
        return post
    if not post.text or post.text.isspace():
        return Rejection(DeadReason.EMPTY_TEXT, "text: is empty")
    if len(post.text) > text_max_chars:
        error = f"text: has {len(post.text)} characters; {text_max_chars} are allowed"
        return Rejection(DeadReason.TEXT_TOO_LONG, error)
    if post.event_ms > now_ms + max_future_ms:
        error = f"created_at: {post.created_at} is more than {max_future_ms / 1_000:.0f} s in the future"
        return Rejection(DeadReason.FUTURE_TIMESTAMP, error)
    return post


def _usual(value: bytes) -> RawPost | None:
    """A post as most are written; None for any other message."""
    if _NUL in value:
        return None
    try:
        post = _USUAL.validate_json(value)
        written = post["created_at"]
        event_ms = to_ms(datetime.fromisoformat(written))
        if event_ms < 0:
            return None
        keywords = post.get("keywords")
        return RawPost(
            post["id"],
            post["text"],
            written if len(written) == _CANONICAL_LENGTH else _canonical(written),
            post["source"],
            clean_keywords(keywords) if keywords else (),
            post.get("lang"),
            post.get("author"),
            post.get("url"),
            event_ms,
        )
    except ValueError:  # pydantic's is one
        return None


def _canonical(moment: str) -> str:
    """What `_IN_UTC` takes as `rfc3339` writes it; longer than a millisecond's digits are cut off."""
    to_second, _, rest = moment.removesuffix("Z").removesuffix("+00:00").partition(".")
    return f"{to_second}.{rest:0<3.3}Z"


def _any(value: bytes) -> RawPost | Rejection:
    try:
        post = Post.model_validate_json(value)
    except ValidationError as exc:
        is_json = exc.errors(include_input=False, include_url=False)[0]["type"] != "json_invalid"
        return Rejection(DeadReason.INVALID_RECORD if is_json else DeadReason.INVALID_JSON, explain(exc))
    return RawPost(
        post.id,
        post.text,
        rfc3339(post.created_at),
        post.source,
        post.keywords,
        post.lang,
        post.author,
        post.url,
        to_ms(post.created_at),
    )
