"""Reads the fingerprints of the windows in Postgres; Postgres computes the sums."""

from __future__ import annotations

import math
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


def _keyed(table: str) -> str:
    """Returns the FROM clause of a table, with the start of each row in ms, its weight and its range.

    OFFSET 0 keeps the planner from computing the expressions again wherever they are used.
    """
    return f"""
        FROM {table} AS stored
        JOIN unnest(%(sizes)s::integer[], %(fine_from)s::bigint[], %(buckets)s::integer[])
            AS layout (size_s, fine_from, buckets) USING (size_s)
        CROSS JOIN LATERAL (SELECT (extract(epoch FROM start_at) * 1000)::bigint AS start_ms OFFSET 0) AS times
        CROSS JOIN LATERAL (
            SELECT ('x' || left(md5(size_s || '|' || start_ms || '|' || keyword), 15))::bit(60)::bigint AS weight
            OFFSET 0
        ) AS weights
        CROSS JOIN LATERAL (
            SELECT
                CASE WHEN start_ms < fine_from THEN start_ms - start_ms %% {DAY_MS} ELSE start_ms END AS range_ms,
                (weight %% buckets)::integer AS bucket
            OFFSET 0
        ) AS ranges
    """  # noqa: S608 - the names of tables are constants


def _hash(column: str) -> str:
    return f"('x' || left(md5({column}::text), 8))::bit(32)::bigint"


def _ms_after_start(column: str) -> str:
    return f"round((extract(epoch FROM {column}) - extract(epoch FROM start_at)) * 1000)"


_WHOLE = f"round(({{}} * {UNIT})::numeric)"

_BY_RANGE = "size_s, range_ms, bucket"
_BY_WINDOW = "size_s, start_ms, keyword"
_IN_RANGES = """
    WHERE (size_s, range_ms, bucket) IN (
        SELECT * FROM unnest(%(wanted_sizes)s::integer[], %(wanted_starts)s::bigint[], %(wanted_buckets)s::integer[])
    )
"""

_ALL = "(posts + unsupported)"
"""All posts of a window. The number of its hash in Redis counts those without a label too."""

# The values of a window, by the factor of each.
_VALUES = {
    "n": _ALL,
    "u": "unsupported",
    "end": _ms_after_start("end_at"),
    "first": _ms_after_start("first_event"),
    "last": _ms_after_start("last_event"),
    "late": "late",
    "mean_sentiment": f"coalesce({_WHOLE.format('mean_sentiment')}, {NO_SENTIMENT})",
    "models": _hash("models"),
    "sources": _hash("sources"),
    "languages": _hash("languages"),
}

# The values of a row of a label or a sentiment, by the beginning of the factor's name.
_LABEL_VALUES = {
    "l:": "posts",
    "label percent:": _WHOLE.format("percent"),
    "label confidence:": _WHOLE.format("mean_confidence"),
}
_SENTIMENT_VALUES = {"t:": "posts", "sentiment percent:": _WHOLE.format("percent")}


def _weighted(values: Iterable[str]) -> str:
    return ", ".join(f"sum(weight::numeric * {value})" for value in values)


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
    # Postgres may hold a number that is infinite or none.
    weighted = factor(name) * (int(value) if math.isfinite(value) else -1)
    if is_count(name):
        sums.counts += weighted
    else:
        sums.published += weighted
