"""Reads recent posts with a keyword and a label from the history, the newest first, a page at a time.

An index on keywords finds the rows of a rare keyword. A popular keyword has very many rows, so first the windows of the
keyword tell the span that holds enough posts, and only this span is searched.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from connectors.deadline import Deadline
from streams.query.errors import QuestionError
from streams.query.history import HistoryReader
from streams.records import ALL_KEYWORDS, EARLIEST, Record, Timestamp

MAX_POSTS = 500
"""The most posts of a page."""

_PLACE = re.compile(r"(\d{1,16})-(\d{1,9})-(\d{1,18})", re.ASCII)

_MICROSECOND = timedelta(microseconds=1)


class Place(NamedTuple):
    """A place in the order of posts: by creation, then by partition and offset of the raw post."""

    created_at: datetime
    partition: int
    offset: int

    @classmethod
    def at(cls, moment: datetime) -> Place:
        """Returns the place before all posts that were created at a moment."""
        return cls(moment, -1, -1)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Returns the place of a text that `str` returned.

        Raises:
            QuestionError: The text is no place.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise QuestionError("before", "is neither a time nor the `next` of a page")
        micros, partition, offset = (int(part) for part in found.groups())
        return cls(EARLIEST + micros * _MICROSECOND, partition, offset)

    def __str__(self) -> str:
        """Returns a short text without characters that an address would have to escape."""
        return f"{(self.created_at - EARLIEST) // _MICROSECOND}-{self.partition}-{self.offset}"


class RecentPost(Record, frozen=True, kw_only=True):
    """A classified post.

    Attributes:
        id: its id.
        source: where it comes from.
        created_at: when it was created.
        keywords: its keywords.
        text: its text; None if it was erased or is not kept.
        lang: its language as a code of BCP 47; None if it is not known.
        url: where people read it; None if it was erased or is not known.
        label: the label that the model gave; None if no model reads its language.
        confidence: the confidence of the model, 0 to 1; None without a label.
        sentiment: the sentiment label; None without one.
        sentiment_score: the sentiment, -1 to 1; None without one.
    """

    id: str
    source: str
    created_at: Timestamp
    keywords: list[str]
    text: str | None
    lang: str | None
    url: str | None
    label: str | None
    confidence: float | None
    sentiment: str | None
    sentiment_score: float | None


class PostPage(NamedTuple):
    """Posts, the newest first, and the place after which older ones follow; None if there are no older ones."""

    posts: list[RecentPost]
    next: Place | None


# The start of the latest windows that together count enough posts; none if all windows together do not. The window that
# holds `before` also counts later posts, so it counts for nothing.
_SPAN = """
    SELECT min(start_at) FROM (
        SELECT start_at, counted, sum(counted) OVER (ORDER BY start_at DESC) AS so_far
        FROM (
            SELECT start_at, {counted} AS counted FROM {table}
            WHERE keyword = %(keyword)s AND size_s = %(size)s AND {condition}
                AND start_at <= %(before)s - size_s * interval '1 second'
            ORDER BY start_at DESC LIMIT %(limit)s
        ) AS latest
    ) AS summed
    WHERE so_far - counted < %(limit)s
    HAVING max(so_far) >= %(limit)s
"""
_SPAN_OF_ALL = _SPAN.format(table="emotion_windows", counted="posts + unsupported", condition="true")
_SPAN_OF_LABEL = _SPAN.format(table="emotion_window_labels", counted="posts", condition="label = %(label)s")

_POSTS = """
    SELECT created_at, origin_partition, origin_offset, id, source, keywords, text, lang, url, label, confidence,
        sentiment_label, sentiment_score
    FROM posts
    WHERE {conditions}
    ORDER BY created_at DESC, origin_partition DESC, origin_offset DESC LIMIT %(limit)s
"""
_BEFORE = (
    "created_at <= %(before)s "
    "AND (created_at, origin_partition, origin_offset) < (%(before)s, %(partition)s, %(offset)s)"
)


class RecentPosts:
    """Reads recent posts. Tasks may share it."""

    def __init__(self, history: HistoryReader, *, size: int) -> None:
        """Create a reader; `size` is the shortest window size in seconds."""
        self._history = history
        self._size = size

    async def read(
        self,
        keyword: str,
        deadline: Deadline,
        *,
        label: str | None = None,
        limit: int = 50,
        before: Place | None = None,
        now: datetime,
    ) -> PostPage:
        """Returns the latest posts with a keyword and a label.

        Args:
            keyword: the keyword, as `Question` has it; `*` for posts with any or none.
            deadline: when the server ends the statements.
            label: the label; None for posts with any or none.
            limit: the most posts, 1 to `MAX_POSTS`.
            before: only posts before this place; None for the latest.
            now: the present time. Without `before`, posts that are dated later are left out.

        Raises:
            QuestionError: `limit` is out of range.
            UnavailableError: Postgres does not answer by the deadline.
            RejectedError: Postgres refuses the call.
        """
        if not 1 <= limit <= MAX_POSTS:
            raise QuestionError("limit", f"is not within 1 and {MAX_POSTS}")
        place = before or Place.at(now)
        wanted = {
            "keyword": keyword,
            "size": self._size,
            "label": label,
            "limit": limit + 1,
            "before": place.created_at,
            "partition": place.partition,
            "offset": place.offset,
        }
        [(since,)] = await self._history.fetch(
            "looking for the span of recent posts", _SPAN_OF_LABEL if label else _SPAN_OF_ALL, wanted, deadline
        ) or [(None,)]
        rows = await self._rows({**wanted, "since": since}, deadline)
        if since is not None and len(rows) <= limit:
            # Windows and posts reach the history apart from each other, so the span may have fewer posts than counted.
            rows = await self._rows({**wanted, "since": None}, deadline)
        page = rows[:limit]
        return PostPage([_post(row) for row in page], _place(page[-1]) if len(rows) > limit else None)

    async def _rows(self, wanted: dict[str, object], deadline: Deadline) -> list[tuple[object, ...]]:
        conditions = [_BEFORE]
        if wanted["since"] is not None:
            conditions.append("created_at >= %(since)s")
        if wanted["keyword"] != ALL_KEYWORDS:
            conditions.append("keywords @> ARRAY[%(keyword)s::text]")
        if wanted["label"] is not None:
            conditions.append("label = %(label)s")
        statement = _POSTS.format(conditions=" AND ".join(conditions))
        return await self._history.fetch("reading recent posts", statement, wanted, deadline)


def _place(row: tuple[object, ...]) -> Place:
    return Place(*cast("tuple[datetime, int, int]", row[:3]))


def _post(row: tuple[object, ...]) -> RecentPost:
    created_at, _, _, *rest = cast("tuple[Any, ...]", row)
    names = ("id", "source", "keywords", "text", "lang", "url", "label", "confidence", "sentiment", "sentiment_score")
    return RecentPost(created_at=Timestamp.of(created_at), **dict(zip(names, rest, strict=True)))
