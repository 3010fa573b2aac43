"""Reduces classified posts to deltas: what they add to each window. Pure.

All sums are integers; confidences and scores are in millionths. So the content of a window does not depend on the order
in which workers and partitions add to it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from streams.records import ALL_KEYWORDS
from streams.window_sizes import WindowSize
from streams.windows.post import PostForCounting
from streams.windows.tumbling import WindowKey, is_too_late, shard_of, window_start


class Position(NamedTuple):
    """How far one shard has counted one partition of the classified topic.

    Attributes:
        offset: the next offset to apply; -1 if nothing was ever applied.
        fence: the highest raw offset counted; -1 for none. A classified post at or below the fence is a repetition.
        latest_event_ms: the latest event time among the counted posts, in milliseconds since 1970; -1 for none.
    """

    offset: int = -1
    fence: int = -1
    latest_event_ms: int = -1


class Entry(NamedTuple):
    """A classified post and its offset in the classified topic; `duplicate` if its producer had sent it before."""

    offset: int
    post: PostForCounting
    duplicate: bool = False


class WindowDelta(NamedTuple):
    """What some posts add to a window: the hash fields to increment, and their first and last event time in ms.

    Windows of different sizes that get the same posts of a keyword share one delta object. So a delta must not be
    changed.
    """

    fields: Mapping[str, int]
    first: int
    last: int

    @classmethod
    def sum(cls, deltas: Sequence[WindowDelta]) -> WindowDelta:
        """Returns the sum of at least one delta."""
        fields = dict(deltas[0].fields)
        for delta in deltas[1:]:
            for name, amount in delta.fields.items():
                fields[name] = fields.get(name, 0) + amount
        return cls(fields, min(delta.first for delta in deltas), max(delta.last for delta in deltas))


def sum_deltas(by_window: Mapping[WindowKey, Sequence[WindowDelta]]) -> dict[WindowKey, WindowDelta]:
    """Returns the sum of each window's deltas. Windows that have the same deltas share their sum."""
    sums: dict[tuple[int, ...], WindowDelta] = {}
    found: dict[WindowKey, WindowDelta] = {}
    for key, deltas in by_window.items():
        if len(deltas) == 1:
            found[key] = deltas[0]
            continue
        # Identities are enough: to compare the deltas would cost as much as to add them. `by_window` keeps them alive.
        identities = tuple(map(id, deltas))
        total = sums.get(identities)
        if total is None:
            total = sums[identities] = WindowDelta.sum(deltas)
        found[key] = total
    return found


class TooLatePost(NamedTuple):
    """A post that came after one of its windows had left the retention, and that window.

    `latest_event_ms` is the latest event time among the earlier posts of its partition, in milliseconds since 1970.
    """

    post: PostForCounting
    window: WindowKey
    latest_event_ms: int


@dataclass(slots=True)
class ShardDeltas:
    """What entries of one partition add to one shard.

    Attributes:
        position: the shard's position in the partition after these entries.
        windows: the delta of each window.
        too_late: posts too late for a window, once for each such window. Only the shard of the windows of all posts has
            them, so that they are counted once.
        counted: number of posts that count.
        repeated: number of entries that repeat an earlier entry.
        duplicates: number of posts that their producer had sent before. Only the shard of the windows of all posts has
            it.
    """

    position: Position
    windows: dict[WindowKey, WindowDelta] = field(default_factory=dict)
    too_late: list[TooLatePost] = field(default_factory=list)
    counted: int = 0
    repeated: int = 0
    duplicates: int = 0


def reduce_entries(
    entries: Sequence[Entry], *, positions: Sequence[Position], end: int, sizes: Sequence[WindowSize]
) -> list[ShardDeltas]:
    """Reduce a partition's entries to deltas, grouped by shard.

    An entry below a shard's position is skipped, because the shard has it. Each other post counts once: raw offsets
    rise along the partition, so a post at or below the fence is a repetition. A post that is too late for a window is
    not counted in that window.

    Args:
        entries: all entries of the partition from the lowest of `positions` to below `end`, in offset order. Entries
            further back may be there too.
        positions: the position of each shard.
        end: the offset after the last entry. It becomes the offset of each shard.
        sizes: the window sizes.

    Returns:
        The deltas of each shard, in the order of `positions`.
    """
    # Shards have the same position, except after a crash between two applies. So one reducer mostly serves them all.
    reducers = {position: _Reducer(position, sizes) for position in positions}
    for reducer in reducers.values():
        reducer.add(entries)
    shards = len(positions)
    windows: list[dict[WindowKey, WindowDelta]] = [{} for _ in positions]
    for position, reducer in reducers.items():
        for key, delta in reducer.windows().items():
            shard = shard_of(key.keyword, shards)
            if positions[shard] == position:
                windows[shard][key] = delta
    shard_of_all = shard_of(ALL_KEYWORDS, shards)
    return [
        ShardDeltas(
            position=Position(end, reducers[position].fence, reducers[position].latest_event_ms),
            windows=windows[shard],
            too_late=reducers[position].too_late if shard == shard_of_all else [],
            counted=reducers[position].counted,
            repeated=reducers[position].repeated,
            duplicates=reducers[position].duplicates if shard == shard_of_all else 0,
        )
        for shard, position in enumerate(positions)
    ]


Kind = tuple[str | None, str, str, str | None, str | None]
"""Label, model version, source, sentiment label and language. They decide which fields of a window a post increments.
"""

_Sums = dict[Kind, list[int]]
"""For each kind of post: number, sum of confidences, sum of scores, first and last event time."""


class PostCounter:
    """Decides for each entry of a partition, from one position on, whether its post counts and in which windows.

    A subclass does the counting.

    Attributes:
        fence: the highest raw offset counted; see `Position`.
        latest_event_ms: the latest event time counted; see `Position`.
        too_late: posts too late for a window, once for each such window.
        counted: number of posts that count.
        repeated: number of entries that repeat an earlier entry.
        duplicates: number of posts that their producer had sent before.
    """

    def __init__(self, position: Position, sizes: Sequence[WindowSize]) -> None:
        """Start at a position."""
        self.fence, self.latest_event_ms = position.fence, position.latest_event_ms
        self.too_late: list[TooLatePost] = []
        self.counted = self.repeated = self.duplicates = 0
        self._start = position.offset
        self._sizes = sizes

    def add(self, entries: Sequence[Entry]) -> None:
        """Count the next entries of the partition. Those below the position are skipped."""
        every_size = tuple(size.seconds for size in self._sizes)
        shortest_kept_ms = min(size.kept_ms for size in self._sizes)
        for offset, post, duplicate in entries:
            if offset < self._start:
                continue
            origin = post.origin.offset
            if origin <= self.fence:
                self.repeated += 1
                continue
            self.fence = origin
            if duplicate:
                self.duplicates += 1
                continue
            self.counted += 1
            # A window ends after its posts. So one comparison mostly shows that the post is in time for all sizes.
            in_time = post.event_ms + shortest_kept_ms > self.latest_event_ms
            self._count(post, every_size if in_time else self._sizes_in_time(post))
            self.latest_event_ms = max(self.latest_event_ms, post.event_ms)

    def _sizes_in_time(self, post: PostForCounting) -> tuple[int, ...]:
        """Returns the sizes whose window takes the post. The windows that the post missed go to `too_late`."""
        found = []
        for size in self._sizes:
            window = WindowKey(ALL_KEYWORDS, size.seconds, window_start(post.event_ms, size.seconds))
            if is_too_late(window.end, self.latest_event_ms, size.kept_ms):
                self.too_late.append(TooLatePost(post, window, self.latest_event_ms))
            else:
                found.append(size.seconds)
        return tuple(found)

    def _count(self, post: PostForCounting, sizes: tuple[int, ...]) -> None:
        """Count a post in its windows of these sizes in seconds."""
        raise NotImplementedError


def cell_size(sizes: Sequence[WindowSize]) -> int:
    """Returns the length in seconds of a cell of time: the greatest common divisor of the window sizes.

    So every window is made of complete cells, and posts may be summed by cell before they are summed by window.
    """
    return math.gcd(*(size.seconds for size in sizes))


class _Reducer(PostCounter):
    """Reduces the entries from one position on, for all keywords.

    The posts of each cell of time are summed first, and the cells of each window at the end.
    """

    def __init__(self, position: Position, sizes: Sequence[WindowSize]) -> None:
        super().__init__(position, sizes)
        self._cell = cell_size(sizes)
        # By window sizes and start of the cell, then by keyword. The sizes are those that take the posts: all of them,
        # except for posts that are too late for some.
        self._cells: dict[tuple[tuple[int, ...], int], dict[str, _Sums]] = {}

    def _count(self, post: PostForCounting, sizes: tuple[int, ...]) -> None:
        _, _, keywords, event_ms, _, confidence, _, score, _, _, _ = post
        by_keyword = self._cells.setdefault((sizes, window_start(event_ms, self._cell)), {})
        kind = kind_of(post)
        for keyword in (ALL_KEYWORDS, *keywords):
            by_kind = by_keyword.get(keyword)
            if by_kind is None:
                by_kind = by_keyword[keyword] = {}
            sums = by_kind.get(kind)
            if sums is None:
                by_kind[kind] = [1, confidence, score, event_ms, event_ms]
            else:
                sums[0] += 1
                sums[1] += confidence
                sums[2] += score
                if event_ms < sums[3]:
                    sums[3] = event_ms
                elif event_ms > sums[4]:
                    sums[4] = event_ms

    def windows(self) -> dict[WindowKey, WindowDelta]:
        """Returns the delta of each window."""
        deltas: dict[WindowKey, list[WindowDelta]] = defaultdict(list)
        for (sizes, cell), by_keyword in self._cells.items():
            starts = [(size, window_start(cell, size)) for size in sizes]
            for keyword, by_kind in by_keyword.items():
                delta = _delta(by_kind)
                for size, start in starts:
                    deltas[WindowKey(keyword, size, start)].append(delta)
        return sum_deltas(deltas)


def _delta(by_kind: _Sums) -> WindowDelta:
    fields: dict[str, int] = {}
    for kind, (posts, confidence, score, _, _) in by_kind.items():
        post_fields, confidence_field, score_field = fields_of(kind)
        for name in post_fields:
            fields[name] = fields.get(name, 0) + posts
        if confidence_field is not None:
            fields[confidence_field] = fields.get(confidence_field, 0) + confidence
        if score_field is not None:
            fields[score_field] = fields.get(score_field, 0) + score
    return WindowDelta(fields, min(sums[3] for sums in by_kind.values()), max(sums[4] for sums in by_kind.values()))


def kind_of(post: PostForCounting) -> Kind:
    """Returns the kind of a post."""
    return post.label, post.version, post.source, post.sentiment, post.lang


@lru_cache(4_096)
def fields_of(kind: Kind) -> tuple[tuple[str, ...], str | None, str | None]:
    """Returns the fields that a kind of post adds to: its numbers of posts, its confidences, and its scores.

    The last two are None if posts of the kind have no label or no sentiment.
    """
    label, version, source, sentiment, lang = kind
    of_language = () if lang is None else (f"g:{lang}",)
    if label is None:
        return ("n", "u", f"s:{source}", *of_language), None, None
    post_fields = ("n", f"l:{label}", f"m:{version}", f"s:{source}", *of_language)
    if sentiment is None:
        return post_fields, f"c:{label}", None
    return (*post_fields, f"t:{sentiment}"), f"c:{label}", "ts"
