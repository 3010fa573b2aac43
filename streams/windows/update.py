"""What a batch changes in a shard: the deltas of all its partitions together, and where each then stands. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.windows.deltas import Position, Reduction, WindowDelta, sum_up
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

    @classmethod
    def of(cls, reductions: Mapping[int, tuple[Position, Reduction]]) -> ShardUpdate:
        """The update that brings a shard, for each partition, from where it stands to the end of a reduction."""
        given: dict[WindowKey, list[WindowDelta]] = defaultdict(list)
        update = cls()
        for partition, (expected, reduction) in reductions.items():
            update.moves[partition] = Move(expected, reduction.position)
            for key, delta in reduction.windows.items():
                given[key].append(delta)
            update.late.update(note.window.size for note in reduction.too_late)
            update.duplicates += reduction.duplicates
        update.windows = sum_up(given)
        return update


def shard_updates(
    positions: Mapping[int, Sequence[Position]], reductions: Mapping[int, Sequence[Reduction]]
) -> dict[int, ShardUpdate]:
    """The update of each shard that has not got all of a batch.

    Args:
        positions: by partition, where each shard stands.
        reductions: by partition, the effect on each shard.
    """
    steps: dict[int, dict[int, tuple[Position, Reduction]]] = defaultdict(dict)
    for partition, of_shards in reductions.items():
        for shard, (position, reduction) in enumerate(zip(positions[partition], of_shards, strict=True)):
            if position.offset < reduction.position.offset:
                steps[shard][partition] = position, reduction
    return {shard: ShardUpdate.of(of_shard) for shard, of_shard in steps.items()}
