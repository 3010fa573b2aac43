"""Reduces classified posts to what they add to each window. Pure.

Sums are integers: counts as they are, confidences and scores in millionths. Integer addition is associative and
commutative, so a window's content does not depend on the order in which workers and partitions contribute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.records import ALL_KEYWORDS, ClassifiedPost, to_ms
from streams.windows.tumbling import WindowKey, is_too_late, shard_of, window_start

MICRO = 1_000_000
"""Fixed-point unit of confidences and scores."""


class Position(NamedTuple):
    """How far one shard has counted one partition of the classified topic.

    Attributes:
        offset: the next offset to apply; -1 where nothing was ever applied.
        fence: the highest raw offset counted; -1 for none. What classify delivered twice is at or below it.
        time: the latest event time among the counted posts, in milliseconds; -1 for none.
    """

    offset: int = -1
    fence: int = -1
    time: int = -1


class Entry(NamedTuple):
    """A classified post and its offset in the classified topic."""

    offset: int
    post: ClassifiedPost


@dataclass(slots=True)
class WindowDelta:
    """What a batch adds to one window: Redis hash fields to increment, and the range of its event times."""

    fields: dict[str, int] = field(default_factory=dict)
    first: int = 0
    last: int = 0

    def add(self, post: ClassifiedPost, event_ms: int) -> None:
        """Count one post."""
        fields = self.fields
        self.first = event_ms if not fields else min(self.first, event_ms)
        self.last = event_ms if not fields else max(self.last, event_ms)
        amounts = [
            ("n", 1),
            (f"l:{post.label}", 1),
            (f"c:{post.label}", round(post.confidence * MICRO)),
            (f"m:{post.model.version}", 1),
            (f"s:{post.source}", 1),
        ]
        if post.sentiment is not None:
            amounts.append((f"t:{post.sentiment.label}", 1))
            amounts.append(("ts", round(post.sentiment.score * MICRO)))
        for name, amount in amounts:
            fields[name] = fields.get(name, 0) + amount


class TooLate(NamedTuple):
    """A post that came after one of its windows had left the retention."""

    post: ClassifiedPost
    window: WindowKey
    partition_time: int


@dataclass(slots=True)
class Reduction:
    """The effect of a run of entries on one shard."""

    position: Position
    windows: dict[WindowKey, WindowDelta] = field(default_factory=dict)
    too_late: list[TooLate] = field(default_factory=list)
    counted: int = 0
    repeated: int = 0


def reduce_entries(
    entries: Sequence[Entry],
    *,
    position: Position,
    end: int,
    shard: int,
    shards: int,
    sizes: Iterable[int],
    retention_ms: int,
) -> Reduction:
    """Reduce a partition's entries, in offset order, to one shard's deltas and its new position.

    Entries before the position are in already. Of the rest a post counts once: origins rise along the partition
    except where a stage repeated itself, so one at or below the fence was counted before. A post that is too late for
    a window is left out of it, and noted by the shard that owns the windows of all posts.

    Args:
        entries: the partition's records in [some offset at or below `position`, `end`).
        position: where the shard stands.
        end: the offset after the last entry; the new position's offset.
        shard: the shard to reduce for; windows of other shards are left out.
        shards: how many shards there are.
        sizes: window sizes in seconds.
        retention_ms: how long a window takes corrections, in milliseconds.
    """
    sizes = tuple(sizes)
    fence, time = position.fence, position.time
    result = Reduction(position)
    notes_late = shard_of(ALL_KEYWORDS, shards) == shard
    for offset, post in entries:
        if offset < position.offset:
            continue
        if post.origin.offset <= fence:
            result.repeated += 1
            continue
        fence = post.origin.offset
        result.counted += 1
        event_ms = to_ms(post.created_at)
        mine = [word for word in (ALL_KEYWORDS, *post.keywords) if shard_of(word, shards) == shard]
        for size in sizes:
            start = window_start(event_ms, size)
            if is_too_late(start + size * 1_000, time, retention_ms):
                if notes_late:
                    result.too_late.append(TooLate(post, WindowKey(ALL_KEYWORDS, size, start), time))
                continue
            for keyword in mine:
                key = WindowKey(keyword, size, start)
                delta = result.windows.get(key)
                if delta is None:
                    delta = result.windows[key] = WindowDelta()
                delta.add(post, event_ms)
        time = max(time, event_ms)
    result.position = Position(end, fence, time)
    return result
