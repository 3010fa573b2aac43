"""Reduces classified posts to what they add to each window. Pure.

Sums are integers: counts as they are, confidences and scores in millionths. Integer addition is associative and
commutative, so a window's content does not depend on the order in which workers and partitions contribute.
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
        offset: the next offset to apply; -1 where nothing was ever applied.
        fence: the highest raw offset counted; -1 for none. What classify delivered twice is at or below it.
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
    """What a batch adds to a window: Redis hash fields to increment, and the range of its event times in ms.

    Never changed: the windows of one keyword that the same posts fall into, one of each size, share it.
    """

    fields: Mapping[str, int]
    first: int
    last: int

    @classmethod
    def sum(cls, deltas: Sequence[WindowDelta]) -> WindowDelta:
        """Several deltas of the same window, at least one, as one."""
        fields = dict(deltas[0].fields)
        for delta in deltas[1:]:
            for name, amount in delta.fields.items():
                fields[name] = fields.get(name, 0) + amount
        return cls(fields, min(delta.first for delta in deltas), max(delta.last for delta in deltas))


def sum_deltas(given: Mapping[WindowKey, Sequence[WindowDelta]]) -> dict[WindowKey, WindowDelta]:
    """What each window is given in all. Windows that are given the same deltas share their sum as well."""
    sums: dict[tuple[int, ...], WindowDelta] = {}
    found: dict[WindowKey, WindowDelta] = {}
    for key, deltas in given.items():
        if len(deltas) == 1:
            found[key] = deltas[0]
            continue
        # By identity, since to compare them would cost as much; they live as long as `given`.
        which = tuple(map(id, deltas))
        total = sums.get(which)
        if total is None:
            total = sums[which] = WindowDelta.sum(deltas)
        found[key] = total
    return found


class TooLatePost(NamedTuple):
    """A post that came after one of its windows had left the retention."""

    post: PostForCounting
    window: WindowKey
    latest_event_ms: int


@dataclass(slots=True)
class ShardDelta:
    """The effect of a run of entries on one shard."""

    position: Position
    windows: dict[WindowKey, WindowDelta] = field(default_factory=dict)
    too_late: list[TooLatePost] = field(default_factory=list)
    counted: int = 0
    repeated: int = 0
    duplicates: int = 0


def reduce_entries(
    entries: Sequence[Entry], *, positions: Sequence[Position], end: int, sizes: Sequence[WindowSize]
) -> list[ShardDelta]:
    """Reduce a partition's entries, in offset order, to each shard's deltas and its new position.

    Entries before a shard's position are in already. Of the rest a post counts once: origins rise along the partition
    except where a stage repeated itself, so one at or below the fence was counted before. A post that is too late for
    a window is left out of it, and noted by the shard that owns the windows of all posts, as are duplicates.

    Args:
        entries: the partition's records in [some offset at or below every position, `end`).
        positions: where each shard stands.
        end: the offset after the last entry; the new position's offset.
        sizes: the windows that are kept.

    Returns:
        The effect on each shard, in the order of `positions`.
    """
    # After a crash between two shards they stand apart; else one pass over the posts serves them all.
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
    noting = shard_of(ALL_KEYWORDS, shards)
    return [
        ShardDelta(
            position=Position(end, reducers[position].fence, reducers[position].latest_event_ms),
            windows=windows[shard],
            too_late=reducers[position].too_late if shard == noting else [],
            counted=reducers[position].counted,
            repeated=reducers[position].repeated,
            duplicates=reducers[position].duplicates if shard == noting else 0,
        )
        for shard, position in enumerate(positions)
    ]


_Kind = tuple[str, str, str, str | None]
"""Label, model version, source and sentiment: what decides which fields of a window a post increments."""

_Sums = dict[_Kind, list[int]]
"""For each kind: posts, confidences, scores, first and last event time. They are split into fields at the end."""


class _Reducer:
    """One run over the entries, from one position, for all keywords."""

    def __init__(self, position: Position, sizes: Sequence[WindowSize]) -> None:
        self.fence, self.latest_event_ms = position.fence, position.latest_event_ms
        self.too_late: list[TooLatePost] = []
        self.counted = self.repeated = self.duplicates = 0
        self._start = position.offset
        self._sizes = sizes
        # Every window is made of whole cells of this length.
        self._cell = math.gcd(*(size.seconds for size in sizes))
        # By sizes (all of them but for late posts) and start of the cell, then by keyword: sums for each kind of post.
        self._cells: dict[tuple[tuple[int, ...], int], dict[str, _Sums]] = {}

    def add(self, entries: Sequence[Entry]) -> None:
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
            # A window ends after its posts, so that most of the time one comparison tells for all sizes.
            in_time = post.event_ms + shortest_kept_ms > self.latest_event_ms
            self._count(post, every_size if in_time else self._sizes_in_time(post))
            self.latest_event_ms = max(self.latest_event_ms, post.event_ms)

    def _sizes_in_time(self, post: PostForCounting) -> tuple[int, ...]:
        found = []
        for size in self._sizes:
            window = WindowKey(ALL_KEYWORDS, size.seconds, window_start(post.event_ms, size.seconds))
            if is_too_late(window.end, self.latest_event_ms, size.kept_ms):
                self.too_late.append(TooLatePost(post, window, self.latest_event_ms))
            else:
                found.append(size.seconds)
        return tuple(found)

    def _count(self, post: PostForCounting, sizes: tuple[int, ...]) -> None:
        _, source, keywords, event_ms, label, confidence, sentiment, score, version, _ = post
        words = self._cells.setdefault((sizes, window_start(event_ms, self._cell)), {})
        kind = (label, version, source, sentiment)
        for keyword in (ALL_KEYWORDS, *keywords):
            kinds = words.get(keyword)
            if kinds is None:
                kinds = words[keyword] = {}
            sums = kinds.get(kind)
            if sums is None:
                kinds[kind] = [1, confidence, score, event_ms, event_ms]
            else:
                sums[0] += 1
                sums[1] += confidence
                sums[2] += score
                if event_ms < sums[3]:
                    sums[3] = event_ms
                elif event_ms > sums[4]:
                    sums[4] = event_ms

    def windows(self) -> dict[WindowKey, WindowDelta]:
        """What the posts add to each window."""
        given: dict[WindowKey, list[WindowDelta]] = defaultdict(list)
        for (sizes, cell), words in self._cells.items():
            starts = [(size, window_start(cell, size)) for size in sizes]
            for keyword, kinds in words.items():
                delta = _delta(kinds)
                for size, start in starts:
                    given[WindowKey(keyword, size, start)].append(delta)
        return sum_deltas(given)


def _delta(kinds: _Sums) -> WindowDelta:
    fields: dict[str, int] = {}
    for kind, (posts, confidence, score, _, _) in kinds.items():
        of_posts, of_confidence, of_score = _field_names(kind)
        for name in of_posts:
            fields[name] = fields.get(name, 0) + posts
        fields[of_confidence] = fields.get(of_confidence, 0) + confidence
        if of_score is not None:
            fields[of_score] = fields.get(of_score, 0) + score
    return WindowDelta(fields, min(sums[3] for sums in kinds.values()), max(sums[4] for sums in kinds.values()))


@lru_cache(4_096)
def _field_names(kind: _Kind) -> tuple[tuple[str, ...], str, str | None]:
    """The fields that count a kind's posts, the one that sums up its confidences, and that of its scores if any."""
    label, version, source, sentiment = kind
    of_posts = ("n", f"l:{label}", f"m:{version}", f"s:{source}")
    if sentiment is None:
        return of_posts, f"c:{label}", None
    return (*of_posts, f"t:{sentiment}"), f"c:{label}", "ts"
