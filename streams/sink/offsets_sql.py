"""Statements on `sink_offsets`, the next offset of each partition, and on `sink_gaps`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connectors.postgres import Connection
from streams.sink.ledger import Span
from streams.sink.sql import execute_each, fetch_all


def initialise(connection: Connection, topic: str, lows: Mapping[int, int]) -> None:
    """Insert the partitions that `sink_offsets` does not have; each begins at its offset in `lows`."""
    for partition, low in sorted(lows.items()):
        connection.execute(
            "INSERT INTO sink_offsets (topic, partition, first_offset, next_offset) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (topic, partition, low, low),
        )


def read(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Returns the next offset of each partition; a partition that was never initialised is left out."""
    return dict(
        fetch_all(
            connection,
            "SELECT partition, next_offset FROM sink_offsets WHERE topic = %s AND partition = ANY(%s)",
            topic,
            list(partitions),
        )
    )


def lock(connection: Connection, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Lock the rows of these partitions until the transaction ends, and return their next offsets."""
    return dict(
        fetch_all(
            connection,
            "SELECT partition, next_offset FROM sink_offsets WHERE topic = %s AND partition = ANY(%s) "
            "ORDER BY partition FOR UPDATE",
            topic,
            list(partitions),
        )
    )


def update(connection: Connection, topic: str, next_offsets: Mapping[int, int]) -> None:
    """Set the next offset of each partition in `next_offsets`."""
    execute_each(
        connection,
        "UPDATE sink_offsets SET next_offset = %s WHERE topic = %s AND partition = %s",
        ((offset, topic, partition) for partition, offset in next_offsets.items()),
    )


def record_gap(connection: Connection, topic: str, span: Span, reason: str, records: int | None) -> None:
    """Record a range that Postgres lacks and that cannot be read from Kafka.

    `reason` is `expired`, `lost`, `changed` or `unreadable`. `records` is the number of missing rows, None if it is
    unknown.
    """
    connection.execute(
        "INSERT INTO sink_gaps (topic, partition, first_offset, next_offset, reason, records) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (topic, partition, first_offset) DO UPDATE SET "
        "next_offset = greatest(sink_gaps.next_offset, excluded.next_offset), "
        "known_at = CASE WHEN excluded.next_offset <= sink_gaps.next_offset THEN sink_gaps.known_at END, "
        "records = sink_gaps.records + excluded.records",
        (topic, span.partition, span.start, span.end, reason, records),
    )
