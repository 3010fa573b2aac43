"""Records that this process has written to a topic which it consumes as well, so that it need not fetch them.

Once the broker has confirmed them their offsets are known, and what is in them the writer knew before. A consumer that
stands at the first of them takes them from here and goes on after the last, as if it had fetched them; its partition is
paused meanwhile. Whatever else is written there shows as a hole before what comes next, or would lie behind the last.
So a consumer fetches again from where it stands as soon as there is a hole, and where nothing has come for a while.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from connectors.kafka.batch import OwnRange

LIMIT: Final = 16_384
"""Records that wait to be taken at most. The windows' part of a post takes about 1 KB, so they are 16 MB."""

QUIET_S: Final = 1.0
"""Where nothing has come for so long, whatever others have written is fetched."""


class OwnWrites:
    """What was written and not consumed yet. Thread-safe; one consumer takes from it."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Hold up to `limit` records. More are let go, and their consumer fetches them."""
        self._limit = limit
        self._changed = threading.Condition()
        self._ranges: deque[OwnRange[Any]] = deque()
        self._records = 0

    def __len__(self) -> int:
        """How many records wait."""
        return self._records

    def offer(self, own: OwnRange[Any]) -> None:
        """Hand over what the broker has confirmed; of each partition in the order in which it was written."""
        with self._changed:
            # The newest go: the next that are taken follow those that were taken before.
            if self._records + len(own.items) <= self._limit:
                self._ranges.append(own)
                self._records += len(own.items)
                self._changed.notify()

    def take(self, max_records: int) -> list[OwnRange[Any]]:
        """The next ones: about `max_records` records, since a range is never split."""
        taken: list[OwnRange[Any]] = []
        with self._changed:
            while self._ranges and max_records > 0:
                taken.append(own := self._ranges.popleft())
                self._records -= len(own.items)
                max_records -= len(own.items)
        return taken

    def wait(self, timeout_s: float) -> None:
        """Return when something waits, or after that time in seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._ranges, timeout_s)

    def clear(self) -> None:
        """Let everything go."""
        with self._changed:
            self._ranges.clear()
            self._records = 0


class ReadPlan(NamedTuple):
    """What a consumer is to do.

    Attributes:
        consumed: the ranges that come next in their partitions, in order.
        pause: partitions to fetch no more.
        fetch: partitions to fetch again, from where they stand after `consumed`.
    """

    consumed: list[OwnRange[Any]]
    pause: set[int]
    fetch: set[int]


class LocalReads:
    """Which partitions follow our own writes and are not fetched. Pure."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    @property
    def partitions(self) -> frozenset[int]:
        """They are paused."""
        return frozenset(self._since)

    def clear(self) -> None:
        """Every partition is fetched again."""
        self._since.clear()

    def plan(
        self, ranges: Iterable[OwnRange[Any]], next_offsets: Mapping[int, int], now: float, *, all_taken: bool
    ) -> ReadPlan:
        """Decide about ranges.

        Args:
            ranges: the next ones.
            next_offsets: of each partition that is consumed, the offset after what was consumed last.
            now: on a clock that is not set, in seconds.
            all_taken: whether no more ranges wait.
        """
        before = self.partitions
        at = dict(next_offsets)
        consumed: list[OwnRange[Any]] = []
        for own in ranges:
            expected = at.get(own.partition)
            if expected is None:
                continue
            if own.first == expected:
                consumed.append(own)
                expected = at[own.partition] = own.end
            # Or it was fetched already, to its end: then the next one follows.
            if own.end == expected:
                self._since[own.partition] = now
            elif own.end > expected:
                self._since.pop(own.partition, None)
        if all_taken:
            for partition in [partition for partition, since in self._since.items() if now - since > QUIET_S]:
                del self._since[partition]
        return ReadPlan(consumed, set(self.partitions - before), set(before - self.partitions))
