"""Reads the history in Postgres: the sums of a keyword's windows, and recent posts."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple, cast

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from connectors.postgres_pool import PostgresPool
from streams.query.span import Span
from streams.query.sums import LabelSum, Sums
from streams.records import ALL_KEYWORDS, from_ms

_CANCEL_S = 0.5
"""Seconds in which a server that is late may confirm that it has cancelled a statement."""

_LIMIT_TIME = "SELECT set_config('statement_timeout', %s, true)"

# One statement, so that all parts are of the same moment. A window's mean sentiment is that of the posts that have one,
# which the rows of its sentiments count.
_SUMS = """
    WITH span AS (
        SELECT start_at, posts, unsupported, mean_sentiment FROM emotion_windows
        WHERE keyword = %(keyword)s AND size_s = %(size)s AND start_at >= %(start)s AND start_at < %(end)s
            AND start_at <> ALL (%(known)s)
    ), sentiments AS (
        SELECT start_at, label, posts FROM emotion_window_sentiments
        WHERE keyword = %(keyword)s AND size_s = %(size)s AND start_at >= %(start)s AND start_at < %(end)s
            AND start_at <> ALL (%(known)s)
    )
    SELECT 'label' AS kind, label AS name, sum(posts)::bigint AS posts, sum(posts * mean_confidence)::float8 AS total
    FROM emotion_window_labels
    WHERE keyword = %(keyword)s AND size_s = %(size)s AND start_at >= %(start)s AND start_at < %(end)s
        AND start_at <> ALL (%(known)s)
    GROUP BY label
    UNION ALL
    SELECT 'sentiment', label, sum(posts)::bigint, 0 FROM sentiments GROUP BY label
    UNION ALL
    SELECT 'score', '', 0, sum(mean_sentiment * scored.posts)::float8
    FROM span JOIN (SELECT start_at, sum(posts) AS posts FROM sentiments GROUP BY start_at) AS scored USING (start_at)
    UNION ALL
    SELECT 'unsupported', '', sum(unsupported)::bigint, 0 FROM span
    UNION ALL
    SELECT 'newest', '', floor(extract(epoch FROM last_event) * 1000)::bigint, 0
    FROM (
        SELECT last_event FROM emotion_windows
        WHERE keyword = %(all)s AND size_s = %(size)s ORDER BY start_at DESC LIMIT 1
    ) AS newest
"""


class HistorySums(NamedTuple):
    """The sums of a keyword's windows in the history.

    Attributes:
        sums: the sums.
        newest: the latest event time of all posts that the windows of this size in the history count, in ms since 1970;
            None if there are none. The sink may lag behind the window tables by hours.
    """

    sums: Sums
    newest: int | None


class HistoryReader:
    """Reads the history. Tasks may share it."""

    def __init__(self, pool: PostgresPool) -> None:
        """Create a reader. It borrows connections of the pool, which somebody else opens and closes."""
        self._pool = pool

    async def in_span(self, keyword: str, span: Span, deadline: Deadline, known: Collection[int] = ()) -> HistorySums:
        """Returns the sums of a keyword's windows in a span.

        Args:
            keyword: the keyword.
            span: the windows.
            deadline: when the server ends the statement.
            known: the starts of windows that are left out, in ms since 1970.

        Raises:
            UnavailableError: Postgres does not answer by the deadline.
            RejectedError: Postgres refuses the call.
        """
        wanted = {
            "keyword": keyword,
            "all": ALL_KEYWORDS,
            "size": span.size,
            "start": from_ms(span.start),
            "end": from_ms(span.end),
            "known": [from_ms(start) for start in known],
        }
        rows = await self.fetch("reading the windows of a keyword", _SUMS, wanted, deadline)
        labels: dict[str, LabelSum] = {}
        sentiments: dict[str, int] = {}
        score, unsupported, newest = 0.0, 0, None
        for kind, name, posts, total in cast("list[tuple[str, str, int | None, float | None]]", rows):
            match kind:
                case "label":
                    labels[name] = LabelSum(posts or 0, total or 0.0)
                case "sentiment":
                    sentiments[name] = posts or 0
                case "score":
                    score = total or 0.0
                case "unsupported":
                    unsupported = posts or 0
                case _:
                    newest = posts
        return HistorySums(Sums(labels, sentiments, score, unsupported), newest)

    async def fetch(
        self, doing: str, statement: str, values: Mapping[str, object], deadline: Deadline
    ) -> list[tuple[object, ...]]:
        """Returns the rows of a statement, which the server ends at the deadline.

        Args:
            doing: what is attempted, for the message.
            statement: the statement.
            values: its parameters.
            deadline: the deadline.

        Raises:
            UnavailableError: Postgres does not answer by the deadline.
            RejectedError: Postgres refuses the call.
        """
        left_s = deadline.left_s
        # The client ends a statement too: a server that is paused cannot. psycopg answers the first cancellation by
        # asking the server to cancel, and the second one by closing the connection.
        try:
            async with (
                asyncio.timeout(left_s + _CANCEL_S),
                asyncio.timeout(left_s),
                self._pool.connection(doing) as connection,
                connection.pipeline(),
                connection.transaction(),
            ):
                # 0 would be no limit.
                await connection.execute(_LIMIT_TIME, [str(max(1, int(left_s * 1_000)))])
                cursor = await connection.execute(statement, values)
                return await cursor.fetchall()
        except TimeoutError as exc:
            raise UnavailableError(f"PostgreSQL did not answer by the deadline while {doing}") from exc
