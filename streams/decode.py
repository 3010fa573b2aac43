"""Decides what a message on the raw topic is: a post, or a dead letter and why. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import ValidationError

from streams.records import DeadPost, DeadReason, Origin, Post, explain, rfc3339


def decode_post(
    value: bytes | None,
    key: bytes | None,
    origin: Origin,
    *,
    text_max_chars: int,
    max_future: timedelta,
    now: datetime,
) -> Post | DeadPost:
    """Read a post.

    Args:
        value: the message as it is; None for a tombstone.
        key: the message's key, kept in a dead letter.
        origin: where the message is.
        text_max_chars: longest text, in characters.
        max_future: how far `created_at` may be ahead of `now`.
        now: the present time.

    Returns:
        The post, or the dead letter to write in its stead.
    """

    def dead(reason: DeadReason, error: str) -> DeadPost:
        return DeadPost.of(value, key, origin, reason, error)

    if not value:
        return dead(DeadReason.EMPTY_MESSAGE, "the message has no value")
    try:
        post = Post.model_validate_json(value)
    except ValidationError as exc:
        is_json = exc.errors(include_input=False, include_url=False)[0]["type"] != "json_invalid"
        return dead(DeadReason.INVALID_RECORD if is_json else DeadReason.INVALID_JSON, explain(exc))
    if not post.text.strip():
        return dead(DeadReason.EMPTY_TEXT, "text: is empty")
    if len(post.text) > text_max_chars:
        error = f"text: has {len(post.text)} characters; {text_max_chars} are allowed"
        return dead(DeadReason.TEXT_TOO_LONG, error)
    if post.created_at > now + max_future:
        error = f"created_at: {rfc3339(post.created_at)} is more than {max_future.total_seconds():.0f} s in the future"
        return dead(DeadReason.FUTURE_TIMESTAMP, error)
    return post
