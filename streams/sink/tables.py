"""The statements of the sink, each on an open connection and inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, cast

from connectors.postgres import Connection
from streams.records import EmotionWindow
from streams.sink.ledger import Fence, Figures, LedgerRange, Span
from streams.sink.rows import (
    LABEL_COLUMNS,
    POST_COLUMNS,
    SENTIMENT_COLUMNS,
    WINDOW_COLUMNS,
    Columns,
    Row,
)


def _names(columns: Columns) -> str:
    return ", ".join(columns)


CHECKSUM = f"hash_record_extended(ROW({_names(POST_COLUMNS)}), 0)"
"""The hash of all a post says, as SQL. Columns that a later version adds must not enter it: what the ledger holds would
no longer compare."""

_FIGURES = f"""
    count(*)::integer, bit_xor({CHECKSUM}), min(origin_offset), max(origin_offset), min(created_at), max(created_at)
"""

_POSTS = f"""
    INSERT INTO posts ({_names(POST_COLUMNS)})
    SELECT {_names(POST_COLUMNS)} FROM stage_posts
    ON CONFLICT (origin_topic, origin_partition, origin_offset, created_at) DO NOTHING
"""

# Only windows that are news replace their labels: `changed` has the keys of those that were written.
_WINDOWS = f"""
    WITH changed AS (
        INSERT INTO emotion_windows ({_names(WINDOW_COLUMNS)})
        SELECT {_names(WINDOW_COLUMNS)} FROM stage_windows
        ON CONFLICT (keyword, size_s, start_at) DO UPDATE SET
            {", ".join(f"{column} = excluded.{column}" for column in list(WINDOW_COLUMNS)[3:])}
        WHERE excluded.revision > emotion_windows.revision
        RETURNING keyword, size_s, start_at
    )
    INSERT INTO changed_windows SELECT keyword, size_s, start_at FROM changed
"""


def _replace(table: str, stage: str, columns: Columns) -> tuple[str, str]:
    """Statements that give the changed windows the rows of a stage in place of their old ones."""
    stale = f"""
        DELETE FROM {table} AS old
        USING changed_windows AS changed
        WHERE (old.keyword, old.size_s, old.start_at) = (changed.keyword, changed.size_s, changed.start_at)
    """
    fresh = f"""
        INSERT INTO {table} ({_names(columns)})
        SELECT {_names({f"stage.{column}": "" for column in columns})}
        FROM {stage} AS stage JOIN changed_windows USING (keyword, size_s, start_at)
    """
    return stale, fresh


_MOVE_WINDOWS = [
    _WINDOWS,
    *_replace("emotion_window_labels", "stage_labels", LABEL_COLUMNS),
    *_replace("emotion_window_sentiments", "stage_sentiments", SENTIMENT_COLUMNS),
]


# A post has one label, and one sentiment or none.
_WHOLE = """(
    window_.posts = (
        SELECT coalesce(sum(label.posts), 0) FROM emotion_window_labels AS label
        WHERE (label.keyword, label.size_s, label.start_at) = (window_.keyword, window_.size_s, window_.start_at)
    )
    AND (window_.mean_sentiment IS NULL OR EXISTS (
        SELECT FROM emotion_window_sentiments AS sentiment
        WHERE (sentiment.keyword, sentiment.size_s, sentiment.start_at)
            = (window_.keyword, window_.size_s, window_.start_at)
    ))
)"""


def _rows(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()


def _each(connection: Connection, statement: str, rows: Iterable[Row]) -> None:
    """Execute a statement for each row.

    Not by `executemany`, which is a pipeline: for the server a process that is stopped in the middle of one is not idle
    in its transaction, but busy, and keeps its locks for ever.
    """
    for row in rows:
        connection.execute(statement, row)


def schema_version(connection: Connection) -> int | None:
    """The highest migration that was applied; None if there is no schema."""
    [[exists]] = _rows(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL")
    if not exists:
        return None
    [[version]] = _rows(connection, "SELECT max(version) FROM schema_migrations")
    return cast("int | None", version)


def stage(connection: Connection, name: str, table: str, columns: Columns, rows: Iterable[Row]) -> None:
    """COPY rows into a staging table like `table`, which is empty again after the transaction."""
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} (LIKE {table}) ON COMMIT DELETE ROWS")
    statement = f"COPY {name} ({_names(columns)}) FROM STDIN (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def move_posts(connection: Connection) -> None:
    """Bring the staged posts into their table; those that are there stay as they are."""
    connection.execute(_POSTS)


def note_models(connection: Connection, first_uses: Mapping[tuple[str, str], datetime]) -> None:
    """Note models, by name and version, that are new."""
    for (name, version), at in sorted(first_uses.items()):
        connection.execute(
            "INSERT INTO model_versions (name, version, first_classified_at) VALUES (%s, %s, %s) "
            "ON CONFLICT (name, version) DO NOTHING",
            (name, version, at),
        )


def make_days(connection: Connection, days: Iterable[date]) -> None:
    """Make the partitions of `posts` for these days that are missing."""
    connection.execute("SELECT make_post_days(%s)", (list(days),))


def move_windows(connection: Connection) -> None:
    """Bring the staged windows that are news into their tables."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS changed_windows "
        "(keyword text, size_s integer, start_at timestamptz) ON COMMIT DELETE ROWS"
    )
    for statement in _MOVE_WINDOWS:
        connection.execute(statement)


def lock_backfill(connection: Connection) -> bool:
    """Take the lock of the backfill for this session; whether it was free."""
    [[free]] = _rows(connection, "SELECT pg_try_advisory_lock(hashtextextended('emostream backfill', 0))")
    return bool(free)


def stored_windows(
    connection: Connection, windows: Sequence[EmotionWindow]
) -> dict[tuple[str, int, float], tuple[int, bool]]:
    """Those of the windows that are there: their revision, and whether they have all their labels and sentiments.

    The key is the keyword, the size, and the start in seconds since 1970.
    """
    found = _rows(
        connection,
        f"SELECT keyword, size_s, extract(epoch FROM start_at)::float8, revision, {_WHOLE} "
        "FROM unnest(%s::text[], %s::integer[], %s::timestamptz[]) AS wanted (keyword, size_s, start_at) "
        "JOIN emotion_windows AS window_ USING (keyword, size_s, start_at)",
        [window.keyword for window in windows],
        [window.size for window in windows],
        [window.start for window in windows],
    )
    return {(keyword, size, start): (revision, whole) for keyword, size, start, revision, whole in found}


def forget_damaged(connection: Connection) -> None:
    """Delete windows that are staged and lack labels or sentiments, so that they come anew in any revision."""
    connection.execute(
        "DELETE FROM emotion_windows AS window_ USING stage_windows AS staged "
        "WHERE (window_.keyword, window_.size_s, window_.start_at) = (staged.keyword, staged.size_s, staged.start_at) "
        f"AND NOT {_WHOLE}"
    )


def begin_offsets(connection: Connection, topic: str, lows: Mapping[int, int]) -> None:
    """Let partitions that are new begin at these offsets."""
    for partition, low in sorted(lows.items()):
        connection.execute(
            "INSERT INTO sink_offsets (topic, partition, first_offset, next_offset) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (topic, partition, low, low),
        )


def read_offsets(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The next offset of each partition."""
    return dict(
        _rows(
            connection,
            "SELECT partition, next_offset FROM sink_offsets WHERE topic = %s AND partition = ANY(%s)",
            topic,
            list(partitions),
        )
    )


def lock_offsets(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The next offset of each partition, locked until the commit."""
    return dict(
        _rows(
            connection,
            "SELECT partition, next_offset FROM sink_offsets WHERE topic = %s AND partition = ANY(%s) "
            "ORDER BY partition FOR UPDATE",
            topic,
            list(partitions),
        )
    )


def set_offsets(connection: Connection, topic: str, offsets: Mapping[int, int]) -> None:
    """Let each of these partitions continue at its offset."""
    _each(
        connection,
        "UPDATE sink_offsets SET next_offset = %s WHERE topic = %s AND partition = %s",
        ((offset, topic, partition) for partition, offset in offsets.items()),
    )


def note_gap(connection: Connection, topic: str, span: Span, reason: str, records: int | None) -> None:
    """Note a range that Postgres lacks and Kafka no longer holds; `records` of it are missing, None where unknown."""
    connection.execute(
        "INSERT INTO sink_gaps (topic, partition, first_offset, next_offset, reason, records) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (topic, partition, first_offset) DO UPDATE SET "
        "next_offset = greatest(sink_gaps.next_offset, excluded.next_offset), "
        "records = sink_gaps.records + excluded.records",
        (topic, span.partition, span.start, span.end, reason, records),
    )


_RANGE = """
    partition, first_offset, next_offset, records, rows, checksum, origin_topic, first_origin, last_origin,
    first_event, last_event
"""


def to_range(row: tuple[Any, ...]) -> LedgerRange:
    """A row of the ledger, with the columns of `_RANGE`."""
    partition, start, end, records, count, checksum, raw_topic, first, last, first_event, last_event = row
    return LedgerRange(
        Span(partition, start, end, records),
        None if raw_topic is None else Fence(raw_topic, last),
        None if first is None else Figures(count, checksum, first, last, first_event, last_event),
    )


def last_ranges(connection: Connection, topic: str, partitions: Sequence[int]) -> dict[int, LedgerRange | None]:
    """The last range of each partition in the ledger; None if there is none."""
    found = _rows(
        connection,
        f"SELECT {_RANGE} FROM unnest(%s::integer[]) AS wanted (number), LATERAL ("
        "  SELECT * FROM sink_ledger WHERE topic = %s AND partition = wanted.number ORDER BY next_offset DESC LIMIT 1"
        ") AS last",
        list(partitions),
        topic,
    )
    ranges = {row[0]: to_range(row) for row in found}
    return {partition: ranges.get(partition) for partition in partitions}


def ranges_after(connection: Connection, topic: str, partition: int, after: int, limit: int) -> list[LedgerRange]:
    """The ranges with rows that start beyond an offset, in order; at most `limit`."""
    found = _rows(
        connection,
        f"SELECT {_RANGE} FROM sink_ledger WHERE topic = %s AND partition = %s AND first_offset > %s "
        "AND first_origin IS NOT NULL ORDER BY first_offset LIMIT %s",
        topic,
        partition,
        after,
        limit,
    )
    return [to_range(row) for row in found]


def range_at(connection: Connection, topic: str, partition: int, start: int) -> LedgerRange | None:
    """The range that starts at an offset; None if there is none."""
    found = _rows(
        connection,
        f"SELECT {_RANGE} FROM sink_ledger WHERE topic = %s AND partition = %s AND first_offset = %s",
        topic,
        partition,
        start,
    )
    return to_range(found[0]) if found else None


def range_before(connection: Connection, topic: str, partition: int, start: int) -> LedgerRange | None:
    """The last range that starts before an offset; None if there is none."""
    found = _rows(
        connection,
        f"SELECT {_RANGE} FROM sink_ledger WHERE topic = %s AND partition = %s AND first_offset < %s "
        "ORDER BY first_offset DESC LIMIT 1",
        topic,
        partition,
        start,
    )
    return to_range(found[0]) if found else None


def delete_posts(connection: Connection, partition: int, raw_topic: str, first: int, last: int) -> None:
    """Delete the rows of a range of raw offsets, both ends among them."""
    connection.execute(
        "DELETE FROM posts WHERE origin_topic = %s AND origin_partition = %s AND origin_offset BETWEEN %s AND %s",
        (raw_topic, partition, first, last),
    )


def figures_of_stage(
    connection: Connection, raw_topic: str, last: Mapping[int, LedgerRange | None]
) -> dict[int, Figures]:
    """The figures of the staged posts of a raw topic that lie above each partition's fence."""
    fences = [(partition, found.fence) for partition, found in last.items() if found is not None and found.fence]
    found = _rows(
        connection,
        f"SELECT origin_partition, {_FIGURES} FROM stage_posts "
        "LEFT JOIN unnest(%s::integer[], %s::text[], %s::bigint[]) AS fence (partition, topic, origin) "
        "ON (fence.partition, fence.topic) = (origin_partition, origin_topic) "
        "WHERE origin_topic = %s AND (fence.origin IS NULL OR origin_offset > fence.origin) GROUP BY origin_partition",
        [partition for partition, _ in fences],
        [fence.topic for _, fence in fences],
        [fence.offset for _, fence in fences],
        raw_topic,
    )
    return {partition: Figures(*figures) for partition, *figures in found}


def figures_of_posts(connection: Connection, partition: int, raw_topic: str, wanted: Figures) -> Figures | None:
    """What the table has between the bounds of `wanted`; None if there is nothing."""
    [found] = _rows(
        connection,
        f"SELECT {_FIGURES} FROM posts WHERE origin_topic = %s AND origin_partition = %s "
        "AND origin_offset BETWEEN %s AND %s AND created_at BETWEEN %s AND %s",
        raw_topic,
        partition,
        wanted.first_origin,
        wanted.last_origin,
        wanted.first_event,
        wanted.last_event,
    )
    return Figures(*found) if found[0] else None


def move(connection: Connection, topic: str, spans: Sequence[Span], ranges: Iterable[LedgerRange | None]) -> None:
    """Set the offset of each partition to the end of its span, and store the ranges."""
    set_offsets(connection, topic, {span.partition: span.end for span in spans})
    store_ranges(connection, topic, ranges)


def store_ranges(connection: Connection, topic: str, ranges: Iterable[LedgerRange | None]) -> None:
    """Store ranges in the ledger, in place of those with the same start; None for one that it covers already."""
    _each(
        connection,
        f"INSERT INTO sink_ledger (topic, {_RANGE}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (topic, partition, first_offset) DO UPDATE SET next_offset = excluded.next_offset, "
        "records = excluded.records, rows = excluded.rows, checksum = excluded.checksum, "
        "origin_topic = excluded.origin_topic, first_origin = excluded.first_origin, "
        "last_origin = excluded.last_origin, first_event = excluded.first_event, "
        "last_event = excluded.last_event, written_at = now()",
        ((topic, *_range_row(found)) for found in ranges if found is not None),
    )


def _range_row(found: LedgerRange) -> Row:
    span, fence, figures = found.span, found.fence, found.figures
    first, first_event, last_event = (None,) * 3 if figures is None else (figures[2], *figures[4:])
    return (
        span.partition,
        span.start,
        span.end,
        span.records,
        None if fence is None else 0 if figures is None else figures.rows,
        None if fence is None else 0 if figures is None else figures.checksum,
        None if fence is None else fence.topic,
        first,
        None if fence is None else fence.offset,
        first_event,
        last_event,
    )
