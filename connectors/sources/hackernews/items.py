"""The JSON of an item of Hacker News -> an event. Pure.

The formats are those of github.com/HackerNews/API and hn.algolia.com/api.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.markup import html_text, unescaped
from connectors.sources.shapes.values import earliest, identifier, string, unreadable

POST_KINDS = frozenset({"comment", "poll", "story"})
OTHER_KINDS = frozenset({"job", "pollopt"})


def event_of(item: object, *, kinds: frozenset[str] = POST_KINDS, received_at: datetime) -> SourceEvent:
    """Returns the post of an item; `SourceSkipped` if it is not a post, or has been deleted or killed.

    Args:
        item: the parsed JSON.
        kinds: the types of items that are posts.
        received_at: when the item was received, aware.
    """
    if not isinstance(item, Mapping):
        return unreadable("an item is not a JSON object")
    if item.get("deleted") or item.get("dead"):
        return SourceSkipped(reason=SkipReason.REMOVED, detail="the item was deleted or killed")
    if string(item.get("type")) not in kinds:
        return SourceSkipped(reason=SkipReason.NOT_A_POST, detail="an item of another type")
    return _post(item, (item.get("title"), item.get("text")), item.get("by"), item.get("time"), received_at)


def event_of_hit(hit: object, *, received_at: datetime) -> SourceEvent:
    """Returns the post of a result of the search.

    Args:
        hit: the parsed JSON.
        received_at: when the result was received, aware.
    """
    if not isinstance(hit, Mapping):
        return unreadable("a result is not a JSON object")
    parts = (hit.get("title"), hit.get("story_text") or hit.get("comment_text"))
    return _post({"id": hit.get("objectID")}, parts, hit.get("author"), hit.get("created_at_i"), received_at)


def _post(
    item: Mapping[str, Any], parts: tuple[object, object], author: object, time: object, received_at: datetime
) -> SourceEvent:
    number, created_at = identifier(item.get("id")), earliest(time, (received_at,))
    if number is None or not (number.isascii() and number.isdigit()) or created_at is None:
        return unreadable("an item has no number or no time")
    title, markup = (string(part) for part in parts)
    text = "\n".join(part for part in (unescaped(title or "").strip(), html_text(markup or "")) if part)
    if not text:
        return SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the item has no text")
    return SourcePost(
        id=number,
        text=text,
        created_at=created_at,
        author=string(author),
        url=f"https://news.ycombinator.com/item?id={number}",
    )
