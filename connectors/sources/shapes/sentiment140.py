"""Rows of the data set Sentiment140 -> posts. Pure.

A row has six cells: polarity, id, date, query, user and text. The file is CSV without a header, in Latin-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.markup import unescaped
from connectors.sources.shapes.times import parse_time
from connectors.sources.shapes.values import string, unreadable

CELLS: Final = 6
NO_QUERY: Final = "no_query"
"""The query of a tweet that no query found, in lower case."""


def event_of(cells: Sequence[str], *, received_at: datetime | None = None) -> SourceEvent:
    """Returns the post of a row; `SourceSkipped` if it is not a post.

    The query with which a tweet was found becomes its keyword.

    Args:
        cells: the cells of the row.
        received_at: not used: a row is never younger than the data set.
    """
    del received_at
    if len(cells) != CELLS:
        return unreadable(f"the row has {len(cells)} cells instead of {CELLS}")
    _, tweet_id, date, query, user, text = cells
    if not tweet_id.strip().isdecimal():
        return unreadable("the second cell is not the id of a tweet")
    try:
        created_at = parse_time(date)
    except ValueError as exc:
        return unreadable(f"created_at: {exc}")
    text = unescaped(text)
    if not text.strip():
        return SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the text is empty")
    query = query.strip()
    return SourcePost(
        id=tweet_id.strip(),
        text=text,
        created_at=created_at,
        author=string(user),
        keywords=() if not query or query.lower() == NO_QUERY else (query,),
    )
