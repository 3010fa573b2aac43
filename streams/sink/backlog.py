"""The backlog: how many records of each partition wait in Kafka to be written, and since when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.kafka.offsets import OffsetReader

NEAR_RETENTION = 0.8
"""Share of the topic's retention from which on the backlog is in danger: Kafka may delete its records unwritten."""


def retention_s(config: Mapping[str, str]) -> float | None:
    """Returns how many seconds a topic with this configuration keeps a record; None if it never deletes records."""
    ms = int(config.get("retention.ms", "-1"))
    return None if "delete" not in config.get("cleanup.policy", "delete") or ms < 0 else ms / 1_000


def is_near_retention(oldest_s: float | None, kept_s: float | None) -> bool:
    """Returns whether a record that has waited for `oldest_s` is near the end of the retention `kept_s`.

    Returns False if no record waits (`oldest_s` is None) or the topic never deletes records (`kept_s` is None).
    """
    return oldest_s is not None and kept_s is not None and oldest_s >= NEAR_RETENTION * kept_s


@dataclass(frozen=True)
class PartitionBacklog:
    """The backlog of one partition.

    Attributes:
        partition: the number of the partition.
        next_offset: the first offset that is not written, of those that Kafka holds.
        end_offset: the offset of the next record that Kafka will append.
        oldest_ms: when the first record that waits was appended, in milliseconds since 1970; None if none waits.
    """

    partition: int
    next_offset: int
    end_offset: int
    oldest_ms: int | None

    @property
    def records(self) -> int:
        """The offsets that wait, including those of transaction markers and of records that were compacted."""
        return 0 if self.oldest_ms is None else self.end_offset - self.next_offset

    def age_s(self, now_s: float | None = None) -> float:
        """Returns how many seconds the oldest record has waited; 0 if none waits."""
        now_s = time.time() if now_s is None else now_s
        return 0.0 if self.oldest_ms is None else max(0.0, now_s - self.oldest_ms / 1_000)


class BacklogReader:
    """Reads the backlog of one topic."""

    def __init__(self, reader: OffsetReader, topic: str) -> None:
        self._reader = reader
        self._topic = topic
        self._oldest: dict[tuple[int, int], int] = {}

    def read(self, next_offsets: Mapping[int, int]) -> list[PartitionBacklog]:
        """Returns the backlog of each partition in `next_offsets`, which are the first offsets that are not written.

        Raises:
            ConnectorError: Kafka does not answer, or rejects the call.
        """
        found = []
        oldest: dict[tuple[int, int], int] = {}
        for partition, (low, high) in self._reader.all_bounds(self._topic, sorted(next_offsets)).items():
            start = max(next_offsets[partition], low)
            at: int | None = None
            if high > start:
                # While nothing is written, the oldest record stays the same: its time is read once.
                at = self._oldest.get((partition, start)) or self._appended_ms(partition, start)
                if at is not None:
                    oldest[partition, start] = at
            found.append(PartitionBacklog(partition, start, high, at))
        self._oldest = oldest
        return found

    def _appended_ms(self, partition: int, offset: int) -> int | None:
        message = self._reader.message_at(self._topic, partition, offset)
        if message is None:
            return None  # the remaining offsets are those of transaction markers
        _, appended_ms = message.timestamp()
        return int(appended_ms)
