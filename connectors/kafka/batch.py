"""What is consumed in one go. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from confluent_kafka import Message

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class OwnRange(Generic[Item]):
    """Records of one partition without a hole, that this process has written and need not fetch.

    Attributes:
        partition: where they are.
        first: the offset of the first.
        items: what the writer knows of each, in offset order; not their bytes.
    """

    partition: int
    first: int
    items: Sequence[Item]

    @property
    def end(self) -> int:
        """The offset after the last."""
        return self.first + len(self.items)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records consumed in one poll, from any of the assigned partitions.

    Attributes:
        epoch: the assignment epoch in which they were consumed.
        messages: those that were fetched, in offset order within each partition; none of them is an error.
        starts: for each partition of the batch, the offset at which the batch before it ended.
        own_ranges: those that need not be fetched, in offset order within each partition. A partition may have both.
    """

    epoch: int
    messages: list[Message]
    starts: Mapping[int, int]
    own_ranges: Sequence[OwnRange[Any]] = ()

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.messages) + sum(len(own.items) for own in self.own_ranges)

    def by_partition(self) -> dict[int, list[Message]]:
        """The messages of each partition, in offset order."""
        parts: dict[int, list[Message]] = defaultdict(list)
        for message in self.messages:
            parts[partition_of(message)].append(message)
        return dict(parts)

    def followed_by(self, later: Batch) -> Batch:
        """This batch and the one consumed after it, of the same epoch, as one."""
        starts = {**later.starts, **self.starts}
        return Batch(self.epoch, self.messages + later.messages, starts, (*self.own_ranges, *later.own_ranges))

    def ends(self) -> dict[int, int]:
        """For each partition, the offset after its last record."""
        ends: dict[int, int] = {}
        for own in self.own_ranges:
            ends[own.partition] = own.end
        seen: set[int] = set()
        for message in reversed(self.messages):
            partition = partition_of(message)
            if partition not in seen:
                seen.add(partition)
                ends[partition] = max(ends.get(partition, 0), offset_of(message) + 1)
                if len(seen) == len(self.starts):
                    break
        return ends


def partition_of(message: Message) -> int:
    """The partition of a consumed message (the client allows None, for produced ones)."""
    partition: int | None = message.partition()
    if partition is None:
        raise ValueError("a consumed message has a partition")
    return partition


def offset_of(message: Message) -> int:
    """The offset of a consumed message."""
    offset: int | None = message.offset()
    if offset is None:
        raise ValueError("a consumed message has an offset")
    return offset
