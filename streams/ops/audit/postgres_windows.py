"""Reads the fingerprints of the windows in Postgres; Postgres computes the sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from psycopg import IsolationLevel

from connectors.postgres import Connection
from streams.ops.audit.fingerprints import DAY_MS, NO_SENTIMENT, Key, Layout, Range, Sums, factor, is_count
from streams.ops.audit.redis_windows import StoredWindows
from streams.records import ALL_KEYWORDS
from streams.sink.history import History
from streams.windows.codec import UNIT
from streams.windows.tumbling import WindowKey


def _whole(expression: str) -> str:
    """Returns a float8 as bigint; -1 if it is infinite, none or far too large."""
    return f"CASE WHEN abs({expression}) < 1e15 THEN round({expression})::bigint ELSE -1 END"


def _ms(column: str) -> str:
    """Returns a time in ms since 1970. `extract` would take three times as long, because it is numeric."""
    return _whole(f"date_part('epoch', {column}) * 1000")


def _first_bits(text: str, bits: int) -> str:
    """Returns the first bits of the MD5 of a text."""
    return f"('x' || left(md5({text}), {bits // 4}))::bit({bits})::bigint"


_ALL = "(posts + unsupported)"
"""All posts of a window. The number of its hash in Redis counts those without a label too."""

# The values of a window, by the factor of each.
_VALUES = {
    "n": _ALL,
    "u": "unsupported",
    "end": f"{_ms('end_at')} - start_ms",
    "first": f"{_ms('first_event')} - start_ms",
    "last": f"{_ms('last_event')} - start_ms",
    "late": "late",
    "mean_sentiment": _whole(f"coalesce(mean_sentiment, {NO_SENTIMENT // UNIT}) * {UNIT}"),
    "names": _first_bits("models::text || sources::text || languages::text", 32),
}

# The values of a row of a label or a sentiment, by the beginning of the factor's name.
_PERCENT = _whole(f"percent * {UNIT}")
_LABEL_VALUES = {
    "l:": "posts",
    "label percent:": _PERCENT,
    "label confidence:": _whole(f"mean_confidence * {UNIT}"),
}
_SENTIMENT_VALUES = {"t:": "posts", "sentiment percent:": _PERCENT}

_BY_RANGE = "size_s, range_ms, bucket"
_BY_WINDOW = "size_s, start_ms, keyword"
_IN_RANGES = """
    WHERE (size_s, range_ms, bucket) IN (
        SELECT * FROM unnest(%(wanted_sizes)s::integer[], %(wanted_starts)s::bigint[], %(wanted_buckets)s::integer[])
    )
"""


def _weighted(values: Iterable[str]) -> str:
    return ", ".join(f"sum(weight::numeric * ({value}))" for value in values)


def _keyed(table: str) -> str:
    """Returns the FROM clause of a table, with the start of each row in ms, its weight and its range.

    OFFSET 0 keeps the planner from computing an expression again wherever it is used.
    """
    return f"""
        FROM (
            SELECT
                *,
                CASE WHEN start_ms < fine_from THEN start_ms - start_ms %% {DAY_MS} ELSE start_ms END AS range_ms,
                (weight %% buckets)::integer AS bucket
            FROM (
                SELECT *, {_first_bits("size_s || '|' || start_ms || '|' || keyword", 60)} AS weight
                FROM (SELECT *, {_ms("start_at")} AS start_ms FROM {table} OFFSET 0) AS stored
                OFFSET 0
            ) AS weighted
            JOIN unnest(%(sizes)s::integer[], %(fine_from)s::bigint[], %(buckets)s::integer[])
                AS layout (size_s, fine_from, buckets) USING (size_s)
        ) AS ranged
    """  # noqa: S608 - the names of tables are constants


def read_postgres(history: History, layout: Layout, ranges: Sequence[Range] | None = None) -> StoredWindows:
    """Returns the fingerprints of the windows in Postgres: of each range, or of each window in some ranges.

    A window without posts, which a rebuild has emptied, counts as no window.

    Args:
        history: the connection to Postgres.
        layout: how the windows are grouped to ranges.
        ranges: if given, the groups are the windows in these ranges.

    Raises:
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    sizes = list(layout.buckets)
    parameters: dict[str, Any] = {
        "sizes": sizes,
        "fine_from": [layout.fine_from[size] for size in sizes],
        "buckets": [layout.buckets[size] for size in sizes],
    }
    group, where = _BY_RANGE, ""
    if ranges is not None:
        group, where = _BY_WINDOW, _IN_RANGES
        parameters["wanted_sizes"], parameters["wanted_starts"], parameters["wanted_buckets"] = (
            [wanted[at] for wanted in ranges] for at in range(3)
        )
    # One snapshot, because the sink may write at the same time.
    with history.transaction("reading the windows", IsolationLevel.REPEATABLE_READ) as connection:
        return _read(connection, group, where, parameters)


def _read(connection: Connection, group: str, where: str, parameters: dict[str, Any]) -> StoredWindows:
    # Postgres cannot know that there are few groups, and would sort all rows.
    connection.execute("SET LOCAL enable_sort = off")
    by_window = group == _BY_WINDOW
    found = StoredWindows()

    def sums_of(size: int, start: int, rest: Any) -> Sums:  # noqa: ANN401 - a bucket or a keyword
        key: Key = WindowKey(rest, size, start) if by_window else Range(size, start, rest)
        return found.groups.setdefault(key, Sums())

    statement = (
        f"SELECT {group}, count(*), sum({_ALL}), coalesce(sum({_ALL}) FILTER (WHERE keyword = '{ALL_KEYWORDS}'), 0), "
        f"{_weighted(_VALUES.values())} {_keyed('emotion_windows')} {where or 'WHERE true'} AND {_ALL} <> 0 "
        f"GROUP BY {group}"
    )
    for size, start, rest, windows, posts, of_all, *values in _fetch(connection, statement, parameters):
        sums = sums_of(size, start, rest)
        sums.windows, sums.posts, sums.of_all = int(windows), int(posts), int(of_all)
        found.posts[size] += sums.of_all
        for name, value in zip(_VALUES, values, strict=True):
            _add(sums, name, value)
    for table, kinds in (
        ("emotion_window_labels", _LABEL_VALUES),
        ("emotion_window_sentiments", _SENTIMENT_VALUES),
    ):
        statement = (
            f"SELECT {group}, label, {_weighted(kinds.values())} {_keyed(table)} {where} GROUP BY {group}, label"
        )
        for size, start, rest, label, *values in _fetch(connection, statement, parameters):
            sums = sums_of(size, start, rest)
            for name, value in zip(kinds, values, strict=True):
                _add(sums, name + label, value)
    return found


def _fetch(connection: Connection, statement: str, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    return connection.execute(statement, parameters).fetchall()


def _add(sums: Sums, name: str, value: Decimal) -> None:
    weighted = factor(name) * int(value)
    sums.add(Sums(counts=weighted) if is_count(name) else Sums(published=weighted))
