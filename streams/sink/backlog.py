"""What waits in Kafka to be written: how many records of each partition, and since when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.kafka.offsets import OffsetReader

NEAR_RETENTION = 0.8
"""From this share of the topic's retention on, a backlog is in danger."""


def retention_s(config: Mapping[str, str]) -> float | None:
    """How long a topic with these settings keeps a record, in seconds; None for ever."""
    ms = int(config.get("retention.ms", "-1"))
    return None if "delete" not in config.get("cleanup.policy", "delete") or ms < 0 else ms / 1_000


def is_near_retention(oldest_s: float | None, kept_s: float | None) -> bool:
    """Whether a record that has waited for `oldest_s` comes near the retention `kept_s`; None is none, and for ever."""
    return oldest_s is not None and kept_s is not None and oldest_s >= NEAR_RETENTION * kept_s


@dataclass(frozen=True)
class PartitionBacklog:
    """What waits in one partition.

    Attributes:
        partition: its number.
        next_offset: the first that is not written, of those that Kafka holds.
        end_offset: the next that Kafka will give.
        oldest_ms: when the first record that waits was appended, in milliseconds since 1970; None where none waits.
    """

    partition: int
    next_offset: int
    end_offset: int
    oldest_ms: int | None

    @property
    def records(self) -> int:
        """Offsets that wait; markers of transactions and compacted records among them take some too."""
        return 0 if self.oldest_ms is None else self.end_offset - self.next_offset

    def age_s(self, now_s: float | None = None) -> float:
        """How long the oldest has waited, in seconds; 0 where none waits."""
        now_s = time.time() if now_s is None else now_s
        return 0.0 if self.oldest_ms is None else max(0.0, now_s - self.oldest_ms / 1_000)


class BacklogReader:
    """Looks the backlog of one topic up."""

    def __init__(self, reader: OffsetReader, topic: str) -> None:
        self._reader = reader
        self._topic = topic
        self._oldest: dict[tuple[int, int], int] = {}

    def read(self, next_offsets: Mapping[int, int]) -> list[PartitionBacklog]:
        """The backlog of each partition that has a next offset in `next_offsets`.

        Raises:
            ConnectorError: Kafka did not answer, or refused.
        """
        found = []
        oldest: dict[tuple[int, int], int] = {}
        for partition, next_offset in sorted(next_offsets.items()):
            low, high = self._reader.bounds(self._topic, partition)
            start = max(next_offset, low)
            at: int | None = None
            if high > start:
                # The same while nothing is written, so it is read once.
                at = self._oldest.get((partition, start)) or self._appended_ms(partition, start)
                if at is not None:
                    oldest[partition, start] = at
            found.append(PartitionBacklog(partition, start, high, at))
        self._oldest = oldest
        return found

    def _appended_ms(self, partition: int, offset: int) -> int | None:
        message = self._reader.message_at(self._topic, partition, offset)
        if message is None:
            return None  # nothing but markers of transactions
        _, appended_ms = message.timestamp()
        return int(appended_ms)
