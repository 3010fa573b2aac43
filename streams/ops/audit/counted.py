"""Counts the windows again from the records of the classified topic: what Redis and Postgres should hold. Pure."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from streams.ops.audit.fingerprints import Grouping, Key, Sums, field_sums, weight_of
from streams.settings import Settings
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.post import PostForCounting
from streams.windows.recent import Horizons, RecentPosts

_CHUNK = 20_000
"""Keywords of the posts of a partition that are reduced together. Each of them is in a window of each size."""


class ClassifiedRecord(NamedTuple):
    """A record of the classified topic, with what decides whether its post counts.

    Attributes:
        offset: its offset.
        key: its key, the post's id.
        appended_ms: when the broker appended it, in ms since 1970.
        post: the post.
    """

    offset: int
    key: bytes | None
    appended_ms: int
    post: PostForCounting


class CountedWindows:
    """The windows as the workers count them, with the code of the aggregate stage. Kept as fingerprints only.

    Windows that start before `since_ms` are left out, because Kafka no longer holds all of their posts.

    Attributes:
        sizes: the window sizes in seconds.
        groups: the fingerprints of the windows, by group.
        too_late: posts too late for a window by their own partition, by the window's size in seconds.
        duplicates: posts that their producer had sent before.
    """

    def __init__(self, settings: Settings, grouping: Grouping, since_ms: int) -> None:
        self._sizes = settings.window_sizes
        self.sizes = [size.seconds for size in settings.window_sizes]
        self._horizons = Horizons.of(settings)
        self._grouping = grouping
        self._since_ms = since_ms
        self._positions: dict[int, Position] = {}
        self._recent: dict[int, RecentPosts | None] = {}
        self._pending: dict[int, list[Entry]] = {}
        self._weight: Counter[int] = Counter()
        self.groups: dict[Key, Sums] = {}
        self.too_late: Counter[int] = Counter()
        self.duplicates = 0

    def add(self, partition: int, record: ClassifiedRecord) -> None:
        """Count the next record of a partition."""
        if partition not in self._recent:
            self._recent[partition] = self._horizons.begin()
        recent = self._recent[partition]
        duplicate = recent is not None and recent.add(record.offset, record.key, record.appended_ms)
        self._pending.setdefault(partition, []).append(Entry(record.offset, record.post, duplicate))
        self._weight[partition] += 1 + len(record.post.keywords)
        if self._weight[partition] >= _CHUNK:
            self._reduce(partition)

    def flush(self) -> None:
        """Count the records that were added since the last chunk."""
        for partition in list(self._pending):
            self._reduce(partition)

    def _reduce(self, partition: int) -> None:
        entries = self._pending.pop(partition)
        self._weight[partition] = 0
        position = self._positions.get(partition, Position())
        (deltas,) = reduce_entries(entries, positions=[position], end=entries[-1].offset + 1, sizes=self._sizes)
        self._positions[partition] = deltas.position
        self.too_late.update(post.window.size for post in deltas.too_late)
        self.duplicates += deltas.duplicates
        # Windows of different sizes share deltas.
        summed: dict[int, tuple[int, int]] = {}
        for window, delta in deltas.windows.items():
            if window.start < self._since_ms:
                continue
            weight = weight_of(window)
            group = self._grouping(window, weight)
            if group is None:
                continue
            known = summed.get(id(delta))
            if known is None:
                known = summed[id(delta)] = field_sums(delta.fields)
            sums = self.groups.get(group)
            if sums is None:
                sums = self.groups[group] = Sums()
            sums.add(window.keyword, weight, delta.fields["n"], *known)
