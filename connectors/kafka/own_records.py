"""Own records: records that this process wrote to a topic that it also consumes, kept so that it need not fetch them.

When the broker confirms own records, the process knows their offsets, and it already has their content. If the first of
them is the next record of its partition, the consumer takes them from here as if it had fetched them, and continues
after the last. While a partition is read in this way, its fetching is paused: the partition is *read locally*.

Other processes may write to the same partition. If they write between two own records, the offsets of the own records
are not consecutive. If they write after the last own record, no own record follows. So the consumer fetches a partition
again, from the offset after what it has consumed, when the next own record does not follow and when none has come for
`QUIET_S`. It fetches at once if an *empty* range comes: the process then wrote records that it did not keep.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from connectors.kafka.batch import OwnRange

MEMORY_LIMIT: Final = 16 * 2**20
"""The most bytes that the records in the queue take, by their own estimate."""

QUIET_S: Final = 1.0
"""Seconds without an own record after which a partition is fetched again, so that records of others are found."""


class OwnRecords:
    """The queue of own records that were not consumed yet. Thread-safe, for one consumer."""

    def __init__(self, memory_limit: int = MEMORY_LIMIT) -> None:
        """Keep records of up to `memory_limit` bytes. The consumer fetches the records that find no room."""
        self._memory_limit = memory_limit
        self._memory = 0
        self._changed = threading.Condition()
        self._ranges: deque[OwnRange[Any]] = deque()
        self._records = 0

    def __len__(self) -> int:
        """Returns the number of records in the queue."""
        return self._records

    def offer(self, own: OwnRange[Any]) -> None:
        """Add records that the broker has confirmed, for each partition in offset order.

        If there is no room for all of them, none is kept. An empty range tells that this process wrote records which
        are not kept, and which end at the range's offset.
        """
        with self._changed:
            # New records are dropped, not old ones: the oldest come next in their partition.
            if self._memory + own.memory <= self._memory_limit:
                self._ranges.append(own)
                self._records += len(own.items)
                self._memory += own.memory
                self._changed.notify()

    def take(self, max_records: int) -> list[OwnRange[Any]]:
        """Remove and return the oldest ranges, together about `max_records` records; a range is never split."""
        taken: list[OwnRange[Any]] = []
        with self._changed:
            while self._ranges and max_records > 0:
                taken.append(own := self._ranges.popleft())
                self._records -= len(own.items)
                self._memory -= own.memory
                max_records -= len(own.items)
        return taken

    def wait(self, timeout_s: float) -> None:
        """Wait until the queue has a record, for at most `timeout_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._ranges, timeout_s)

    def clear(self) -> None:
        """Drop all records."""
        with self._changed:
            self._ranges.clear()
            self._records = self._memory = 0


class ReadPlan(NamedTuple):
    """What a consumer does after `LocalReads.plan`.

    Attributes:
        consumed: The ranges that come next in their partitions, in order.
        pause: Partitions to stop fetching.
        fetch: Partitions to fetch again, from the offset after `consumed`.
    """

    consumed: list[OwnRange[Any]]
    pause: set[int]
    fetch: set[int]


class LocalReads:
    """Which partitions are read locally, from the own records, and not fetched. Does no I/O."""

    def __init__(self) -> None:
        # For each partition that is read locally: when its last own record came.
        self._last_own_at: dict[int, float] = {}

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are read locally."""
        return frozenset(self._last_own_at)

    def clear(self) -> None:
        """Read no partition locally."""
        self._last_own_at.clear()

    def plan(
        self, ranges: Iterable[OwnRange[Any]], next_offsets: Mapping[int, int], now: float, *, all_taken: bool
    ) -> ReadPlan:
        """Decide which own records are consumed, and which partitions are read locally from now on.

        Args:
            ranges: The ranges that were taken from the queue, in order.
            next_offsets: For each assigned partition, the offset after the last record that was consumed.
            now: The time in seconds, of a clock that never goes back.
            all_taken: Whether the queue is empty. A partition whose records still wait in the queue is not quiet.
        """
        before = self.partitions
        at = dict(next_offsets)
        consumed: list[OwnRange[Any]] = []
        for own in ranges:
            expected = at.get(own.partition)
            if expected is None:
                continue
            if not own.items:
                self._last_own_at.pop(own.partition, None)
                continue
            if own.first == expected:
                consumed.append(own)
                expected = at[own.partition] = own.end
            # Everything up to the end of this range is consumed, so the next own range may continue here.
            if own.end == expected:
                self._last_own_at[own.partition] = now
            # There is a gap before this range, or part of it was fetched, so this partition is fetched.
            elif own.end > expected:
                self._last_own_at.pop(own.partition, None)
        if all_taken:
            for partition in [partition for partition, last in self._last_own_at.items() if now - last > QUIET_S]:
                del self._last_own_at[partition]
        return ReadPlan(consumed, set(self.partitions - before), set(before - self.partitions))
