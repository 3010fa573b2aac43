"""Finds the event time from which windows can be complete: Kafka may have deleted earlier posts."""

from __future__ import annotations

import time

from connectors.deadline import Deadline
from connectors.kafka.offsets import OffsetReader


def topic_complete_from(
    reader: OffsetReader, topic: str, partitions: int, max_future_ms: int, deadline: Deadline | None = None
) -> int:
    """Returns the event time, in ms since 1970, from which Kafka holds every post of a topic; 0 if it lost none."""
    bounds = reader.all_bounds(topic, range(partitions), deadline)
    return max(
        kafka_complete_from(reader, topic, partition, low=low, max_future_ms=max_future_ms, deadline=deadline)
        for partition, (low, _) in bounds.items()
    )


def kafka_complete_from(
    reader: OffsetReader, topic: str, partition: int, *, low: int, max_future_ms: int, deadline: Deadline | None = None
) -> int:
    """Returns the event time, in ms since 1970, from which Kafka holds every post of a partition; 0 if it lost none.

    Every deleted post was appended before the first record that is left. Its event time was at most `max_future_ms`
    ahead of the broker's clock, or it would have become a dead letter. `low` is the first offset that Kafka holds.
    """
    if low == 0:
        return 0
    first = reader.first_message(topic, partition, deadline)
    appended = time.time_ns() // 1_000_000 if first is None else first.timestamp()[1]
    return appended + max_future_ms
