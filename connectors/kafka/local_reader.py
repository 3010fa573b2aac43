"""Lets a consumer take own records (`own_records`) from memory, and fetch the partitions in which there are none."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from connectors.kafka.batch import OwnRange
from connectors.kafka.own_records import LocalReads, OwnRecords

MIXED_POLL_S = 0.2
"""Greatest number of seconds to wait for own records while some partitions are fetched and others are read locally."""


class LocalReader:
    """Takes own records, and pauses and resumes the fetching of partitions accordingly. For the polling thread only."""

    def __init__(self, consumer: Consumer, topic: str, own_records: OwnRecords) -> None:
        """Start without partitions that are read locally."""
        self._consumer = consumer
        self._topic = topic
        self._own_records = own_records
        self._reads = LocalReads()

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are read locally, and not fetched."""
        return self._reads.partitions

    def wait(self, timeout_s: float, assigned: Collection[int]) -> float:
        """Wait for own records if some partition is read locally. Returns how long to wait for fetched records."""
        local = self._reads.partitions
        if not local:
            return timeout_s
        self._own_records.wait(min(timeout_s, MIXED_POLL_S) if local < set(assigned) else timeout_s)
        return 0.0

    def take(self, max_records: int, next_offsets: dict[int, int], starts: dict[int, int]) -> list[OwnRange[Any]]:
        """Take own records that come next in their partitions.

        Args:
            max_records: about how many to take.
            next_offsets: for each assigned partition, the offset after the last consumed record. It is changed.
            starts: gets where each partition continues, if it is not there.

        Raises:
            KafkaException: The client does not have a partition yet, or no longer.
        """
        ranges = self._own_records.take(max_records)
        plan = self._reads.plan(ranges, next_offsets, time.monotonic(), all_taken=not len(self._own_records))
        for own in plan.consumed:
            starts.setdefault(own.partition, own.first)
            next_offsets[own.partition] = own.end
        if plan.pause:
            self._consumer.pause(self._topic_partitions(plan.pause))
        for partition in plan.fetch:
            self._consumer.seek(TopicPartition(self._topic, partition, next_offsets[partition]))
        if plan.fetch:
            self._consumer.resume(self._topic_partitions(plan.fetch))
        return plan.consumed

    def clear(self) -> None:
        """Read no partition locally, and drop the own records: they will be fetched."""
        self._reads.clear()
        self._own_records.clear()

    def _topic_partitions(self, numbers: Collection[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, number) for number in numbers]
