"""What a batch changes in a shard: the deltas of all its partitions together, and where each then stands. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.windows.deltas import Position, Reduction, WindowDelta
from streams.windows.tumbling import WindowKey


class Move(NamedTuple):
    """A step of one partition: from where a shard is expected to stand to where it stands afterwards."""

    expected: Position
    new: Position


@dataclass(slots=True)
class ShardUpdate:
    """One change of a shard, applied as a whole or not at all.

    Attributes:
        moves: by partition.
        windows: what is added to each window.
        late: posts too late for a window, by its size in seconds.
        duplicates: posts that a producer sent more than once, beyond the first of each.
    """

    moves: dict[int, Move] = field(default_factory=dict)
    windows: dict[WindowKey, WindowDelta] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0

    def add(self, partition: int, expected: Position, reduction: Reduction) -> None:
        """Add one partition's reduction."""
        self.moves[partition] = Move(expected, reduction.position)
        for key, delta in reduction.windows.items():
            known = self.windows.get(key)
            self.windows[key] = delta if known is None else known.plus(delta)
        self.late.update(note.window.size for note in reduction.too_late)
        self.duplicates += reduction.duplicates


def shard_updates(
    stands: Mapping[int, Sequence[Position]], reductions: Mapping[int, Sequence[Reduction]]
) -> dict[int, ShardUpdate]:
    """The update of each shard that has not got all of a batch.

    Args:
        stands: by partition, where each shard stands.
        reductions: by partition, the effect on each shard.
    """
    updates: dict[int, ShardUpdate] = {}
    for partition, of_shards in reductions.items():
        for shard, (stand, reduction) in enumerate(zip(stands[partition], of_shards, strict=True)):
            if stand.offset < reduction.position.offset:
                updates.setdefault(shard, ShardUpdate()).add(partition, stand, reduction)
    return updates
