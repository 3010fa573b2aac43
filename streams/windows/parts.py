"""Divides the entries of a batch into parts, each of which Redis applies in a short time. Pure.

Redis serves no other client while a script runs. How long `apply.lua` runs depends on the windows that it changes and
on the fields that it increments in them, and hardly on the number of posts. Thousands of posts may change the same few
windows, and one post with 64 keywords changes 65 windows of each size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from streams.records import ALL_KEYWORDS
from streams.window_sizes import WindowSize
from streams.windows.deltas import Entry, Kind, fields_of, kind_of
from streams.windows.post import PostForCounting
from streams.windows.tumbling import shard_of, window_start

MAX_CHANGES: Final = 6_000
"""The most changes that an update of one shard may have, unless a single post has more.

`benchmarks/bench_wide_posts.py` measures how long Redis works for them."""

WINDOW_CHANGES: Final = 12
"""The changes that a window counts as, besides one for each of its fields: the script reads the window, writes its
revision and event times, and adds it to the index, the open and the dirty windows. That takes as long as to add to
about twelve fields."""

BYTES_OF_A_CHANGE: Final = 100
"""The length of a window's name or a field's name that counts as a change of its own: they are sent and decoded."""


class Part(NamedTuple):
    """A part of a partition's entries: consecutive ones, and the offset after them."""

    entries: Sequence[Entry]
    end: int


class UpdateSize:
    """The number of changes that the update of each shard has, for the posts added so far.

    It is an upper bound: posts that are too late for a window are taken to change it.
    """

    def __init__(self, sizes: Sequence[WindowSize], shards: int) -> None:
        """Start without posts."""
        self._sizes = [size.seconds for size in sizes]
        self._cell = math.gcd(*(size.seconds for size in sizes))
        self._shards = shards
        # By cell (`deltas`) and keyword, the kinds of posts. Most posts change nothing that is not known by this.
        self._cells: dict[int, dict[str, set[Kind]]] = {}
        # By size, start and keyword of a window, the names of its fields.
        self._windows: dict[tuple[int, int, str], set[str]] = {}
        self._changes: Counter[int] = Counter()
        self.largest = 0

    def add(self, post: PostForCounting) -> None:
        """Add a post."""
        cell = self._cells.setdefault(window_start(post.event_ms, self._cell), {})
        kind = kind_of(post)
        for keyword in (ALL_KEYWORDS, *post.keywords):
            kinds = cell.setdefault(keyword, set())
            if kind not in kinds:
                kinds.add(kind)
                self._grow(keyword, post.event_ms, _names(kind))

    def _grow(self, keyword: str, event_ms: int, names: tuple[str, ...]) -> None:
        changes = 0
        for seconds in self._sizes:
            window = seconds, window_start(event_ms, seconds), keyword
            known = self._windows.get(window)
            if known is None:
                known = self._windows[window] = set()
                changes += _cost(keyword) + WINDOW_CHANGES
            new = [name for name in names if name not in known]
            known.update(new)
            changes += sum(map(_cost, new))
        shard = shard_of(keyword, self._shards)
        self._changes[shard] += changes
        self.largest = max(self.largest, self._changes[shard])


def _names(kind: Kind) -> tuple[str, ...]:
    posts, confidence, score = fields_of(kind)
    return (*posts, *(name for name in (confidence, score) if name is not None))


def _cost(name: str) -> int:
    return 1 + len(name) // BYTES_OF_A_CHANGE


def divide(
    entries: Mapping[int, Sequence[Entry]],
    ends: Mapping[int, int],
    *,
    sizes: Sequence[WindowSize],
    shards: int,
    max_changes: int = MAX_CHANGES,
) -> list[dict[int, Part]]:
    """Divide the entries of a batch into parts, whose updates have at most `max_changes` changes for each shard.

    An entry that alone has more changes makes a part of its own.

    Args:
        entries: by partition, the entries in offset order.
        ends: by partition, the offset after its last record. It may lie after the last entry.
        sizes: the window sizes.
        shards: the number of shards.
        max_changes: the most changes.

    Returns:
        The parts, in the order in which they must be applied: at least one. In each partition, the parts follow each
        other, and the last one ends at the partition's end.
    """
    parts: list[dict[int, Part]] = [{}]
    size = UpdateSize(sizes, shards)
    empty = True
    for partition, of_partition in entries.items():
        first = 0
        for i, entry in enumerate(of_partition):
            size.add(entry.post)
            if size.largest > max_changes and not empty:
                if i > first:
                    parts[-1][partition] = Part(of_partition[first:i], of_partition[i - 1].offset + 1)
                parts.append({})
                first = i
                size = UpdateSize(sizes, shards)
                size.add(entry.post)
            empty = False
        parts[-1][partition] = Part(of_partition[first:], ends[partition])
    return parts
