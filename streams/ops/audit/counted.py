"""Counts the windows again from the records of the classified topic: what Redis and Postgres should hold. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from streams.ops.audit.batches import WindowBatch, add_batch, weights_of, words_of
from streams.ops.audit.fingerprints import Key, Layout, Range, Sums, factor, field_sums
from streams.records import ALL_KEYWORDS
from streams.settings import Settings
from streams.window_sizes import WindowSize
from streams.windows.deltas import Entry, Kind, Position, PostCounter, cell_size, fields_of, kind_of
from streams.windows.post import PostForCounting
from streams.windows.recent import Horizons, RecentPosts
from streams.windows.tumbling import WindowKey, window_start

_CHUNK = 20_000
"""Keywords of the posts of a partition that are counted together. Each of them is in a window of each size."""


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
    """The windows as the workers count them, with the rules of the aggregate stage. Kept as fingerprints only.

    Windows that start before `since_ms` are left out, because Kafka no longer holds all of their posts.

    Attributes:
        sizes: the window sizes in seconds.
        groups: the fingerprints of the windows, by group.
        too_late: posts too late for a window by their own partition, by the window's size in seconds.
        duplicates: posts that their producer had sent before.
    """

    def __init__(self, settings: Settings, layout: Layout, since_ms: int, wanted: Set[Range] | None = None) -> None:
        """Begin without posts. If `wanted` is given, the groups are the windows in these ranges, and else ranges."""
        self._sizes = settings.window_sizes
        self.sizes = [size.seconds for size in settings.window_sizes]
        self._horizons = Horizons.of(settings)
        self._layout = layout
        self._since_ms = since_ms
        self._wanted = wanted
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
            self._count(partition)

    def flush(self) -> None:
        """Count the records that were added since the last chunk."""
        for partition in list(self._pending):
            self._count(partition)

    def _count(self, partition: int) -> None:
        entries = self._pending.pop(partition)
        self._weight[partition] = 0
        counter = _FingerprintCounter(self._positions.get(partition, Position()), self._sizes)
        counter.add(entries)
        self._positions[partition] = Position(entries[-1].offset + 1, counter.fence, counter.latest_event_ms)
        self.too_late.update(post.window.size for post in counter.too_late)
        self.duplicates += counter.duplicates
        for batch in counter.batches(self._since_ms):
            add_batch(self.groups, batch, self._layout, self._wanted)


_Added = tuple[int, int, int]
"""What posts add to a window: their number, and their fingerprints for `Sums.counts` and `Sums.sums`."""


class _FingerprintCounter(PostCounter):
    """Adds up the fingerprints of posts, first by cell of time and keyword, and at the end by window."""

    def __init__(self, position: Position, sizes: Sequence[WindowSize]) -> None:
        super().__init__(position, sizes)
        self._cell = cell_size(sizes)
        # By the sizes that take the posts, then by start of the cell, then by keyword.
        self._cells: dict[tuple[int, ...], dict[int, dict[str, _Added]]] = {}

    def _count(self, post: PostForCounting, sizes: tuple[int, ...]) -> None:
        counts, sums, of_confidence, of_score = _kind_sums(kind_of(post))
        sums += of_confidence * post.confidence + of_score * post.score
        cells = self._cells.setdefault(sizes, {})
        by_keyword = cells.setdefault(window_start(post.event_ms, self._cell), {})
        for keyword in (ALL_KEYWORDS, *post.keywords):
            known = by_keyword.get(keyword)
            if known is None:
                by_keyword[keyword] = (1, counts, sums)
            else:
                by_keyword[keyword] = (known[0] + 1, known[1] + counts, known[2] + sums)

    def batches(self, since_ms: int) -> Iterator[WindowBatch]:
        """Yields what the posts add to the windows that start at `since_ms` or later."""
        for sizes, cells in self._cells.items():
            for size in sizes:
                windows = {start: added for start, added in _merge(cells, size).items() if start >= since_ms}
                if windows:
                    yield _batch(size, windows)


def _merge(cells: Mapping[int, dict[str, _Added]], size: int) -> dict[int, dict[str, _Added]]:
    """Returns what posts add to the windows of a size, by start and keyword."""
    by_start: dict[int, list[dict[str, _Added]]] = {}
    for cell, by_keyword in cells.items():
        by_start.setdefault(window_start(cell, size), []).append(by_keyword)
    windows = {}
    for start, (first, *others) in by_start.items():
        merged = windows[start] = dict(first) if others else first
        for other in others:
            for keyword, added in other.items():
                known = merged.get(keyword)
                merged[keyword] = (
                    added if known is None else (known[0] + added[0], known[1] + added[1], known[2] + added[2])
                )
    return windows


def _batch(size: int, windows: Mapping[int, Mapping[str, _Added]]) -> WindowBatch:
    added = [values for by_keyword in windows.values() for values in by_keyword.values()]
    names: list[str] = []
    for start, by_keyword in windows.items():
        prefix = WindowKey("", size, start).member()
        names += [prefix + keyword for keyword in by_keyword]
    posts, counts, sums = zip(*added, strict=True)
    return WindowBatch(
        size,
        [keyword for by_keyword in windows.values() for keyword in by_keyword],
        np.repeat(np.array(list(windows), np.int64), [len(by_keyword) for by_keyword in windows.values()]),
        weights_of(names),
        np.array(posts, np.int64),
        words_of(counts),
        words_of(sums),
        np.zeros(len(added), np.uint64),
    )


@lru_cache(4_096)
def _kind_sums(kind: Kind) -> tuple[int, int, int, int]:
    """Returns what a post adds to `Sums.counts` and `Sums.sums`, and the factors of its confidence and its score."""
    names, confidence, score = fields_of(kind)
    counts, sums = field_sums(dict.fromkeys(names, 1))
    of_confidence, of_score = (0 if name is None else factor(name) for name in (confidence, score))
    return counts, sums, of_confidence, of_score
