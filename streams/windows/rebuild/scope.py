"""Decides which windows a rebuild recounts, and what state a rebuilt shard gets. Pure; times are in ms since 1970.

From the oldest windows to the latest:

    |-- expired --|-- incomplete --|------ recounted ------|
                  ^                ^                       ^
                  expired_to       complete_from           now

A range [since, until) narrows this: windows that do not overlap it are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from streams.windows.tumbling import WindowKey


class Action(Enum):
    """What a rebuild does with a window."""

    COUNT = "count"
    """The window is recounted."""
    KEEP = "keep"
    """The window stays as it is: it is outside the range, or neither Kafka nor Postgres holds some of its posts."""
    EXPIRED = "expired"
    """The window has left the retention. The shard's counter `expired` counts its posts."""


@dataclass(frozen=True)
class Scope:
    """The windows that are recounted.

    Attributes:
        complete_from: the event time from which Kafka or Postgres holds every post; 0 if they hold all posts.
        since: windows that end at or before this time are kept as they are; None for no such bound.
        until: windows that start at or after this time are kept as they are; None for no such bound.
        expired_to: by size in seconds, the time at or before which windows that have left the retention end.
        remaining: windows that have left the retention but are still in the old tables, mostly because they are not
            published yet.
    """

    complete_from: int
    since: int | None
    until: int | None
    expired_to: Mapping[int, int]
    remaining: frozenset[WindowKey] = frozenset()

    @property
    def partial(self) -> bool:
        """Whether only a range is recounted. Then the shards' counters stay as they are."""
        return self.since is not None or self.until is not None

    def action_for(self, key: WindowKey) -> Action:
        """Returns what the rebuild does with a window."""
        if self.since is not None and key.end <= self.since:
            return Action.KEEP
        if self.until is not None and key.start >= self.until:
            return Action.KEEP
        if key.end <= self.expired_to.get(key.size, -1) and key not in self.remaining:
            return Action.EXPIRED
        return Action.KEEP if key.start < self.complete_from else Action.COUNT


def target_of(old: int, end: int, *, initialised: bool) -> int:
    """Returns the offset up to which a rebuild counts a partition for a shard; -1 for none.

    It is the old shard's offset, so that kept and recounted windows cover the same posts. After Redis was emptied, it
    is the end of the partition.

    Args:
        old: the offset of the old shard; -1 for none.
        end: the next offset that Kafka will write.
        initialised: whether the old shard is initialised.
    """
    return old if initialised else end


def final_state(
    scope: Scope,
    old: Mapping[str, str],
    new: Mapping[str, str],
    *,
    expired: Mapping[int, int],
    unbuilt: Mapping[int, int],
    rebuilt_at: int,
) -> dict[str, str]:
    """Returns the fields to set in the state of a rebuilt shard at the end.

    Args:
        scope: the windows that were recounted.
        old: the state of the old shard, which is sealed.
        new: the state of the rebuilt shard.
        expired: posts in expired windows of all posts, by size in seconds.
        unbuilt: posts of windows of all posts that neither tables have, by size in seconds.
        rebuilt_at: the current time.
    """
    if scope.partial:
        # Everything outside the range comes from the old shard, and so do the positions and the counters. But `top` of
        # the rebuilt shard is not filled yet.
        left_out = ("sealed_", "rebuilt_", "top_")
        found = {name: value for name, value in old.items() if not name.startswith(left_out)}
        return {**found, "rebuilt_at": str(rebuilt_at)}
    fields = {"rebuilt_at": str(rebuilt_at), "complete_from": str(scope.complete_from)}
    fields |= {f"expired:{size}": str(posts) for size, posts in expired.items()}
    fields |= {f"unbuilt:{size}": str(posts) for size, posts in unbuilt.items()}
    sizes = scope.expired_to.keys() | {int(name[11:]) for name in old if name.startswith("expired_to:")}
    for size in sizes:
        latest = max(scope.expired_to.get(size, -1), int(old.get(f"expired_to:{size}", -1)))
        fields[f"expired_to:{size}"] = str(latest)
    if "watermark" in old:
        fields["watermark"] = old["watermark"]  # a watermark never goes back
    # An idle partition stays idle: keep the time of its last apply, not the time of the recount.
    fields |= {name: value for name, value in old.items() if name.startswith("a:") and name in new}
    return fields


def next_end(offsets: Sequence[int], targets: Sequence[int], low: int) -> int | None:
    """Returns up to which offset to read a partition next: the lowest target that a shard has not reached.

    It returns None if all shards have reached their targets.

    Args:
        offsets: the offset of each shard; -1 for none.
        targets: the target offset of each shard.
        low: the first offset that Kafka holds. A target at or below it needs no reading.
    """
    return min((to for at, to in zip(offsets, targets, strict=True) if at < to and to > low), default=None)
