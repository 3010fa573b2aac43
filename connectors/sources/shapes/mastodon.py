"""Statuses of Mastodon's API -> posts. Pure.

The format is that of docs.joinmastodon.org/entities/Status. A post's id is the id on the server that was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.markup import html_text_and_hashtags
from connectors.sources.shapes.values import earliest, hashtags, identifier, members, named, string, unreadable


def status_of(status: Mapping[str, Any], *, received_at: datetime | None = None) -> SourceEvent:
    """Returns the post of a status; `SourceSkipped` if it is not a post.

    The text has a content warning, if there is one, as its first line. A boost is not a post, because it repeats
    another one, and neither is a status that is not public. An edited post has the id and the time of its first
    version.

    Args:
        status: the parsed JSON of a Status.
        received_at: when the status was received, aware; None if it is not known, as in a file.
    """
    if (why := _why_none(status)) is not None:
        return SourceSkipped(reason=SkipReason.NOT_A_POST, detail=why)
    post_id, content = identifier(status.get("id")), status.get("content")
    created_at = earliest(status.get("created_at"), (received_at,))
    if post_id is None or created_at is None or not isinstance(content, str):
        return unreadable("the status has no id, no time or no content")
    text, linked = html_text_and_hashtags(content)
    if warning := string(status.get("spoiler_text")):
        text = f"{warning.strip()}\n{text}".strip()
    if not text:
        return SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the post has no text")
    return SourcePost(
        id=post_id,
        text=text,
        created_at=created_at,
        author=string(members(status.get("account")).get("acct")),
        lang=string(status.get("language")),
        url=string(status.get("url")) or string(status.get("uri")),
        keywords=hashtags(named(status.get("tags"), "name") or linked),
        edited=status.get("edited_at") is not None,
    )


def _why_none(status: Mapping[str, Any]) -> str | None:
    if status.get("reblog") is not None:
        return "a boost of another post"
    return "a post that is not public" if string(status.get("visibility")) in {"private", "direct"} else None
