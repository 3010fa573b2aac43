"""Comments and submissions of Reddit, as Pushshift's dumps and Reddit's API have them -> posts. Pure.

The id is Reddit's full name (`t1_` for a comment, `t3_` for a submission), because a comment and a submission may have
the same short id.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.fields import is_removed
from connectors.sources.shapes.markup import unescaped
from connectors.sources.shapes.values import earliest, identifier, string, unreadable


def event_of(item: Mapping[str, Any], *, received_at: datetime | None = None, escaped: bool = True) -> SourceEvent:
    """Returns the post of a comment or a submission; `SourceSkipped` if it is not a post.

    The text of a submission is its title, and then its own text after an empty line. A removed item is not a post. A
    post whose author has deleted the account has no author.

    Args:
        item: the parsed JSON.
        received_at: when the item was received, aware; None if it is not known, as in a dump.
        escaped: whether Reddit has escaped the texts, as it does unless it is asked for `raw_json=1`.
    """
    parts = _parts(item)
    short_id, created_at = string(item.get("id")), earliest(_number(item.get("created_utc")), (received_at,))
    if short_id is None or created_at is None or parts is None:
        return unreadable("the item has no id, no time, or neither body nor title")
    if any(map(is_removed, parts)):
        return SourceSkipped(reason=SkipReason.REMOVED, detail="the text says that the post was removed")
    if escaped:
        parts = [unescaped(part) for part in parts]
    # Users write references too, such as &#x200B; for an empty line.
    text = "\n\n".join(unescaped(part).strip() for part in parts if part.strip())
    if not text:
        return SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the item has no text")
    author, link = identifier(item.get("author")), string(item.get("permalink"))
    return SourcePost(
        id=short_id if short_id.startswith(("t1_", "t3_")) else f"{'t1' if 'body' in item else 't3'}_{short_id}",
        text=text,
        created_at=created_at,
        author=None if author is None or is_removed(author) else author,
        url=f"https://www.reddit.com{link}" if link is not None and link.startswith("/") else None,
    )


def _parts(item: Mapping[str, Any]) -> list[str] | None:
    """Returns the texts of an item: the body of a comment, or title and text of a submission; None if it has none."""
    found = [item["body"]] if "body" in item else [item.get("title"), item.get("selftext") or ""]
    parts = [part for part in found if isinstance(part, str)]
    return parts if len(parts) == len(found) else None


def _number(value: object) -> object:
    """Returns a time as dumps have it; None for texts that are not numbers, because the field is in seconds."""
    return None if isinstance(value, str) and not value.strip().replace(".", "", 1).isdecimal() else value
