"""What a batch changes in a shard: the deltas of all its partitions together, and where each then stands. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.windows.deltas import Position, ShardDelta, WindowDelta, sum_deltas
from streams.windows.tumbling import WindowKey


class PositionChange(NamedTuple):
    """A step of one partition: from where a shard is expected to stand to where it stands afterwards."""

    expected: Position
    new: Position


@dataclass(slots=True)
class ShardUpdate:
    """One change of a shard, applied as a whole or not at all.

    Attributes:
        positions: by partition.
        windows: what is added to each window.
        late: posts too late for a window, by its size in seconds.
        duplicates: posts that a producer sent more than once, beyond the first of each.
    """

    positions: dict[int, PositionChange] = field(default_factory=dict)
    windows: dict[WindowKey, WindowDelta] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0

    @classmethod
    def of(cls, shard_deltas: Mapping[int, tuple[Position, ShardDelta]]) -> ShardUpdate:
        """The update that brings a shard, for each partition, from its position to the end of a delta."""
        given: dict[WindowKey, list[WindowDelta]] = defaultdict(list)
        update = cls()
        for partition, (expected, shard_delta) in shard_deltas.items():
            update.positions[partition] = PositionChange(expected, shard_delta.position)
            for key, delta in shard_delta.windows.items():
                given[key].append(delta)
            update.late.update(note.window.size for note in shard_delta.too_late)
            update.duplicates += shard_delta.duplicates
        update.windows = sum_deltas(given)
        return update


def shard_updates(
    positions: Mapping[int, Sequence[Position]], shard_deltas: Mapping[int, Sequence[ShardDelta]]
) -> dict[int, ShardUpdate]:
    """The update of each shard that has not got all of a batch.

    Args:
        positions: by partition, where each shard stands.
        shard_deltas: by partition, the effect on each shard.
    """
    steps: dict[int, dict[int, tuple[Position, ShardDelta]]] = defaultdict(dict)
    for partition, of_shards in shard_deltas.items():
        for shard, (position, shard_delta) in enumerate(zip(positions[partition], of_shards, strict=True)):
            if position.offset < shard_delta.position.offset:
                steps[shard][partition] = position, shard_delta
    return {shard: ShardUpdate.of(of_shard) for shard, of_shard in steps.items()}
