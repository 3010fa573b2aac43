"""From which event time on windows can be complete: Kafka may have lost the posts of earlier ones."""

from __future__ import annotations

import time

from connectors.kafka.offsets import OffsetReader


def kafka_complete_from(reader: OffsetReader, topic: str, partition: int, max_future_ms: int) -> int:
    """The event time in ms from which Kafka holds every post of a partition; 0 where it holds all there ever were.

    What it no longer holds was appended before its first record, and no post lies further ahead of the broker's clock
    than `max_future_ms`, or it would have been dead-lettered.
    """
    low, _ = reader.bounds(topic, partition)
    if low == 0:
        return 0
    first = reader.first_message(topic, partition)
    appended = time.time_ns() // 1_000_000 if first is None else first.timestamp()[1]
    return appended + max_future_ms
