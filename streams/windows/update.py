"""Joins the deltas of a batch's partitions to one update for each shard. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.windows.deltas import Position, ShardDeltas, WindowDelta, sum_deltas
from streams.windows.tumbling import WindowKey


class PositionChange(NamedTuple):
    """The position in one partition that a shard is expected to have, and the one that it has after the update."""

    expected: Position
    new: Position


@dataclass(slots=True)
class ShardUpdate:
    """A change of one shard, which Redis applies completely or not at all.

    Attributes:
        positions: the change of the shard's position in each partition.
        windows: the delta of each window.
        too_late: number of posts too late for a window, by the window's size in seconds.
        duplicates: number of posts that their producer had sent before.
    """

    positions: dict[int, PositionChange] = field(default_factory=dict)
    windows: dict[WindowKey, WindowDelta] = field(default_factory=dict)
    too_late: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0

    @classmethod
    def of(cls, shard_deltas: Mapping[int, tuple[Position, ShardDeltas]]) -> ShardUpdate:
        """Returns the update of a shard; `shard_deltas` has the expected position and the deltas of each partition."""
        by_window: dict[WindowKey, list[WindowDelta]] = defaultdict(list)
        update = cls()
        for partition, (expected, deltas) in shard_deltas.items():
            update.positions[partition] = PositionChange(expected, deltas.position)
            for key, delta in deltas.windows.items():
                by_window[key].append(delta)
            update.too_late.update(post.window.size for post in deltas.too_late)
            update.duplicates += deltas.duplicates
        update.windows = sum_deltas(by_window)
        return update


def shard_updates(
    positions: Mapping[int, Sequence[Position]], shard_deltas: Mapping[int, Sequence[ShardDeltas]]
) -> dict[int, ShardUpdate]:
    """Returns the update of each shard that does not have all of a batch yet.

    Args:
        positions: by partition, the position of each shard.
        shard_deltas: by partition, the deltas of each shard.
    """
    by_shard: dict[int, dict[int, tuple[Position, ShardDeltas]]] = defaultdict(dict)
    for partition, deltas in shard_deltas.items():
        for shard, (position, of_shard) in enumerate(zip(positions[partition], deltas, strict=True)):
            if position.offset < of_shard.position.offset:
                by_shard[shard][partition] = position, of_shard
    return {shard: ShardUpdate.of(deltas_of_shard) for shard, deltas_of_shard in by_shard.items()}
