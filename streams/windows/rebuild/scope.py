"""Which windows a rebuild counts anew, and what becomes of the rest of a shard's state. Pure; times in milliseconds.

From the oldest windows to the latest:

    |-- expired --|-- not whole --|------- counted anew -------|
                  ^               ^                            ^
                  expired_to      complete_from                now

A range [since, until) narrows it: what does not overlap it is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from streams.windows.tumbling import WindowKey


class Action(Enum):
    """What a rebuild does with a window."""

    COUNT = "count"
    """It is counted anew."""
    KEEP = "keep"
    """It stays as it is: it lies outside the range, or some of its posts are nowhere any more."""
    EXPIRED = "expired"
    """It has left the retention; its posts are on the books."""


@dataclass(frozen=True)
class Scope:
    """Which windows are counted anew.

    Attributes:
        complete_from: from which event time on every post is still somewhere; 0 where all there ever were are.
        since: windows that end at or before it are left as they are; None for no such bound.
        until: windows that start at or after it are left as they are; None for no such bound.
        expired_to: by size in seconds, up to which end windows have left the retention; none for a size without.
        remaining: windows that are in the tables although they have left the retention: they are not published yet.
    """

    complete_from: int
    since: int | None
    until: int | None
    expired_to: Mapping[int, int]
    remaining: frozenset[WindowKey] = frozenset()

    @property
    def partial(self) -> bool:
        """Whether only a range is counted anew; then the books stay what they are."""
        return self.since is not None or self.until is not None

    def action_for(self, key: WindowKey) -> Action:
        """What becomes of a window."""
        if self.since is not None and key.end <= self.since:
            return Action.KEEP
        if self.until is not None and key.start >= self.until:
            return Action.KEEP
        if key.end <= self.expired_to.get(key.size, -1) and key not in self.remaining:
            return Action.EXPIRED
        return Action.KEEP if key.start < self.complete_from else Action.COUNT


def target_of(old: int, end: int, *, initialised: bool) -> int:
    """Up to which offset of a partition a shard is counted anew; -1 for none.

    That is where the old tables stand, so that windows that are kept and windows that are counted hold the same posts.
    Tables that were emptied stand nowhere: then to the end.

    Args:
        old: the offset at which the old shard stands; -1 for none.
        end: the next offset that Kafka will write.
        initialised: whether the old shard was initialised.
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
    """The fields to set in a rebuilt shard's state at the end.

    Args:
        scope: what was counted anew.
        old: the old shard's state, sealed.
        new: the rebuilt one's.
        expired: posts of expired windows of all posts, by size in seconds.
        unbuilt: posts of windows of all posts that are in no table, by size in seconds.
        rebuilt_at: now.
    """
    if scope.partial:
        # All but a range of windows is the old tables', so are their positions and books.
        found = {name: value for name, value in old.items() if not name.startswith(("sealed_", "rebuilt_"))}
        return {**found, "rebuilt_at": str(rebuilt_at)}
    fields = {"rebuilt_at": str(rebuilt_at), "complete_from": str(scope.complete_from)}
    fields |= {f"expired:{size}": str(posts) for size, posts in expired.items()}
    fields |= {f"unbuilt:{size}": str(posts) for size, posts in unbuilt.items()}
    sizes = scope.expired_to.keys() | {int(name[11:]) for name in old if name.startswith("expired_to:")}
    for size in sizes:
        latest = max(scope.expired_to.get(size, -1), int(old.get(f"expired_to:{size}", -1)))
        fields[f"expired_to:{size}"] = str(latest)
    if "watermark" in old:
        fields["watermark"] = old["watermark"]  # it never goes back
    # A partition that has been idle is not live for having been counted again.
    fields |= {name: value for name, value in old.items() if name.startswith("a:") and name in new}
    return fields


def next_end(offsets: Sequence[int], targets: Sequence[int], low: int) -> int | None:
    """Up to which offset to read a partition next: the first target that a shard has not reached; None if all have.

    Args:
        offsets: the offset at which each shard stands; -1 for none.
        targets: where each shard shall stand.
        low: the first offset that Kafka holds; nothing is read for a target at or before it.
    """
    return min((to for at, to in zip(offsets, targets, strict=True) if at < to and to > low), default=None)
