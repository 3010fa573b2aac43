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

from connectors.kafka.batch import Run

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
        self._runs: deque[Run[Any]] = deque()
        self._records = 0

    def __len__(self) -> int:
        """How many records wait."""
        return self._records

    def offer(self, run: Run[Any]) -> None:
        """Hand over what the broker has confirmed; of each partition in the order in which it was written."""
        with self._changed:
            # The newest go: the next that are taken follow those that were taken before.
            if self._records + len(run.items) <= self._limit:
                self._runs.append(run)
                self._records += len(run.items)
                self._changed.notify()

    def take(self, most: int) -> list[Run[Any]]:
        """The next ones: about `most` records, since a run is never split."""
        taken: list[Run[Any]] = []
        with self._changed:
            while self._runs and most > 0:
                taken.append(run := self._runs.popleft())
                self._records -= len(run.items)
                most -= len(run.items)
        return taken

    def wait(self, timeout_s: float) -> None:
        """Return when something waits, or after that time in seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._runs, timeout_s)

    def clear(self) -> None:
        """Let everything go."""
        with self._changed:
            self._runs.clear()
            self._records = 0


class Step(NamedTuple):
    """What a consumer is to do.

    Attributes:
        consumed: the runs that come next in their partitions, in order.
        pause: partitions to fetch no more.
        fetch: partitions to fetch again, from where they stand after `consumed`.
    """

    consumed: list[Run[Any]]
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

    def step(self, runs: Iterable[Run[Any]], next_offsets: Mapping[int, int], now: float, *, all_taken: bool) -> Step:
        """Decide about runs.

        Args:
            runs: the next ones.
            next_offsets: of each partition that is consumed, the offset after what was consumed last.
            now: on a clock that is not set, in seconds.
            all_taken: whether no more runs wait.
        """
        before = self.partitions
        at = dict(next_offsets)
        consumed: list[Run[Any]] = []
        for run in runs:
            expected = at.get(run.partition)
            if expected is None:
                continue
            if run.first == expected:
                consumed.append(run)
                expected = at[run.partition] = run.end
            # Or it was fetched already, to its end: then the next one follows.
            if run.end == expected:
                self._since[run.partition] = now
            elif run.end > expected:
                self._since.pop(run.partition, None)
        if all_taken:
            for partition in [partition for partition, since in self._since.items() if now - since > QUIET_S]:
                del self._since[partition]
        return Step(consumed, set(self.partitions - before), set(before - self.partitions))
