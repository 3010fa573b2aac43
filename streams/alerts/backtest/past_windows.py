"""Reads the windows of the history in Postgres, in the order of their starts and in bounded memory.

All reads of a `PastWindows` are in one transaction, so they are of the same moment, whatever the sink writes meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

from psycopg import IsolationLevel

from connectors.postgres import Connection, connect, postgres_errors
from streams.alerts.engine.measure import Reading
from streams.records import ALL_KEYWORDS, from_ms, to_ms

_ROWS_AT_ONCE = 2_000
"""Rows that the client holds at a time."""

_IDLE_MS = 300_000
"""Milliseconds after which the server ends the transaction if no statement comes. Rows that the client holds may take
long to evaluate with many rules; the transaction has no locks for which others wait."""

_SIZES = "SELECT size_s, first_at, last_at FROM window_sizes"

# Each label and each sentiment is a row of its own. They are put together before the join, because that reads the index
# once in its order, and not once for each window.
_WINDOWS = """
    SELECT keyword, (extract(epoch FROM start_at) * 1000)::bigint, posts, unsupported, labels, sentiments
    FROM emotion_windows
    LEFT JOIN (
        SELECT keyword, start_at, json_object_agg(label, posts) AS labels FROM emotion_window_labels
        WHERE keyword = ANY (%(keywords)s) AND size_s = %(size)s AND start_at >= %(begin)s AND start_at < %(end)s
        GROUP BY keyword, start_at
    ) AS labels USING (keyword, start_at)
    LEFT JOIN (
        SELECT keyword, start_at, json_object_agg(label, posts) AS sentiments FROM emotion_window_sentiments
        WHERE keyword = ANY (%(keywords)s) AND size_s = %(size)s AND start_at >= %(begin)s AND start_at < %(end)s
        GROUP BY keyword, start_at
    ) AS sentiments USING (keyword, start_at)
    WHERE keyword = ANY (%(keywords)s) AND size_s = %(size)s AND start_at >= %(begin)s AND start_at < %(end)s AND final
    ORDER BY start_at, keyword
"""

_KEYWORDS = """
    SELECT DISTINCT keyword FROM emotion_windows
    WHERE size_s = %(size)s AND start_at >= %(begin)s AND start_at < %(end)s AND final AND keyword <> %(all)s
    ORDER BY keyword
"""

_COUNTED = """
    SELECT (extract(epoch FROM start_at) * 1000)::bigint FROM emotion_windows
    WHERE keyword = %(all)s AND size_s = %(size)s AND start_at >= %(begin)s AND start_at < %(end)s AND final
    ORDER BY start_at
"""


class SizeBounds(NamedTuple):
    """The windows that there are of one size: the start of the first, and the end of the last, in ms since 1970."""

    first: int
    end: int


class PastWindows:
    """The final windows of the history."""

    def __init__(self, connection: Connection) -> None:
        """Create a reader. The connection is in a transaction, which sees the same rows until its end."""
        self._connection = connection

    def sizes(self) -> dict[int, SizeBounds]:
        """Returns the sizes of the windows there are, in seconds, and which time they cover."""
        return {
            size: SizeBounds(to_ms(first), to_ms(last) + size * 1_000)
            for size, first, last in cast("list[tuple[int, Any, Any]]", self._fetch("reading the sizes", _SIZES))
        }

    def keywords(self, size: int, begin: int, end: int) -> list[str]:
        """Returns the keywords that have windows of a size which start in `[begin, end)`, without `*`."""
        rows = self._fetch("reading the keywords of the windows", _KEYWORDS, size=size, begin=begin, end=end)
        return [cast("str", keyword) for (keyword,) in rows]

    def counted(self, size: int, begin: int, end: int) -> list[int]:
        """Returns the starts of the windows of all posts together, in order: when the system counted posts."""
        rows = self._fetch("reading the windows of all posts", _COUNTED, size=size, begin=begin, end=end)
        return [cast("int", start) for (start,) in rows]

    def windows(self, keywords: Sequence[str], size: int, begin: int, end: int) -> Iterator[Reading]:
        """Yields the windows of some keywords that start in `[begin, end)`, by start and then by keyword.

        Raises:
            ConnectorError: Postgres does not answer, or rejects the call.
        """
        values = _values(keywords=list(keywords), size=size, begin=begin, end=end)
        with postgres_errors("reading the windows"), self._connection.cursor("past_windows") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(_WINDOWS, values)
            for row in cursor:
                keyword, start, count, unsupported, labels, sentiments = cast("tuple[Any, ...]", row)
                yield Reading(keyword, size, start, count, unsupported, labels or {}, sentiments or {}, final=True)

    def _fetch(self, doing: str, statement: str, **values: object) -> list[tuple[object, ...]]:
        with postgres_errors(doing):
            return self._connection.execute(statement, _values(**values)).fetchall()


def _values(**values: object) -> dict[str, object]:
    for name in ("begin", "end"):
        if name in values:
            values[name] = from_ms(cast("int", values[name]))
    return {"all": ALL_KEYWORDS, **values}


@contextmanager
def past_windows(dsn: str) -> Iterator[PastWindows]:
    """Yield a reader of the history. It writes nothing.

    Raises:
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    with connect(dsn, application_name="emostream alerts backtest") as connection:
        connection.read_only = True
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with postgres_errors("beginning to read the history"):
            connection.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)", (f"{_IDLE_MS}ms",)
            )
        yield PastWindows(connection)
