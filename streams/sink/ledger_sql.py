"""Statements on `sink_ledger`; `streams.sink.ledger` has its arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from connectors.postgres import Connection
from streams.sink.ledger import Fence, Figures, LedgerRange, Span
from streams.sink.rows import Row
from streams.sink.sql import execute_each, fetch_all

_RANGE = """
    partition, first_offset, next_offset, records, rows, checksum, origin_topic, first_origin, last_origin,
    first_event, last_event
"""


def last_ranges(connection: Connection, topic: str, partitions: Sequence[int]) -> dict[int, LedgerRange | None]:
    """Returns the last range of each partition; None for a partition without a range."""
    found = fetch_all(
        connection,
        f"SELECT {_RANGE} FROM unnest(%s::integer[]) AS wanted (number), LATERAL ("
        "  SELECT * FROM sink_ledger WHERE topic = %s AND partition = wanted.number ORDER BY next_offset DESC LIMIT 1"
        ") AS last",
        list(partitions),
        topic,
    )
    ranges = {row[0]: _to_range(row) for row in found}
    return {partition: ranges.get(partition) for partition in partitions}


def ranges_after(connection: Connection, topic: str, partition: int, after: int, limit: int) -> list[LedgerRange]:
    """Returns the ranges with figures that start above the offset `after`, in order; at most `limit`."""
    found = fetch_all(
        connection,
        f"SELECT {_RANGE} FROM sink_ledger WHERE topic = %s AND partition = %s AND first_offset > %s "
        "AND first_origin IS NOT NULL ORDER BY first_offset LIMIT %s",
        topic,
        partition,
        after,
        limit,
    )
    return [_to_range(row) for row in found]


def range_at(connection: Connection, topic: str, partition: int, start: int) -> LedgerRange | None:
    """Returns the range that starts at an offset; None if there is none."""
    found = fetch_all(
        connection,
        f"SELECT {_RANGE} FROM sink_ledger WHERE topic = %s AND partition = %s AND first_offset = %s",
        topic,
        partition,
        start,
    )
    return _to_range(found[0]) if found else None


def range_before(connection: Connection, topic: str, partition: int, start: int) -> LedgerRange | None:
    """Returns the last range that starts below an offset; None if there is none."""
    found = fetch_all(
        connection,
        f"SELECT {_RANGE} FROM sink_ledger WHERE topic = %s AND partition = %s AND first_offset < %s "
        "ORDER BY first_offset DESC LIMIT 1",
        topic,
        partition,
        start,
    )
    return _to_range(found[0]) if found else None


def store(connection: Connection, topic: str, ranges: Iterable[LedgerRange | None]) -> None:
    """Insert ranges, or replace those with the same start; a None among them is skipped."""
    execute_each(
        connection,
        f"INSERT INTO sink_ledger (topic, {_RANGE}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (topic, partition, first_offset) DO UPDATE SET next_offset = excluded.next_offset, "
        "records = excluded.records, rows = excluded.rows, checksum = excluded.checksum, "
        "origin_topic = excluded.origin_topic, first_origin = excluded.first_origin, "
        "last_origin = excluded.last_origin, first_event = excluded.first_event, "
        "last_event = excluded.last_event, written_at = now()",
        ((topic, *_to_row(found)) for found in ranges if found is not None),
    )


def _to_range(row: tuple[Any, ...]) -> LedgerRange:
    partition, start, end, records, count, checksum, raw_topic, first, last, first_event, last_event = row
    return LedgerRange(
        Span(partition, start, end, records),
        None if raw_topic is None else Fence(raw_topic, last),
        None if first is None else Figures(count, checksum, first, last, first_event, last_event),
    )


def _to_row(found: LedgerRange) -> Row:
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
