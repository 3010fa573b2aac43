"""A batch: the records that a consumer takes in one poll, or in several polls that were joined. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from confluent_kafka import Message

from connectors.kafka.memory import memory_of

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class OwnRange(Generic[Item]):
    """Records with consecutive offsets of one partition that this process wrote, so that it need not fetch them.

    Attributes:
        partition: Partition of the records.
        first: Offset of the first record.
        items: One item per record, in offset order: what the writer kept of the record's content. A range in a batch
            has at least one.
        memory: About how many bytes the items take.
    """

    partition: int
    first: int
    items: Sequence[Item]
    memory: int

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return self.first + len(self.items)


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """A batch of a producer that the client cannot read (`connectors.kafka.unreadable`). Its records are skipped.

    Attributes:
        topic: Its topic.
        partition: Its partition.
        first: The offset of its first record.
        end: The offset after its last record.
        error: Why it cannot be read, in one line.
    """

    topic: str
    partition: int
    first: int
    end: int
    error: str

    def __str__(self) -> str:
        """Returns the offsets and the reason, in one line."""
        return f"{self.topic}[{self.partition}]: offsets {self.first} to {self.end - 1} cannot be read: {self.error}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of any of the assigned partitions.

    A partition may have fetched messages and ranges of own records in the same batch.

    Attributes:
        epoch: The assignment epoch in which the records were consumed.
        messages: The records that were fetched, in offset order within each partition. None of them is an error.
        starts: For each partition of the batch, the offset at which the previous batch ended.
        own_ranges: The records that this process wrote and did not fetch, in offset order within each partition.
        unreadable: The batches of producers that were skipped, in offset order within each partition.
    """

    epoch: int
    messages: list[Message]
    starts: Mapping[int, int]
    own_ranges: Sequence[OwnRange[Any]] = ()
    unreadable: Sequence[UnreadableBatch] = ()

    def __len__(self) -> int:
        """Returns the number of records, fetched and own."""
        return len(self.messages) + sum(len(own.items) for own in self.own_ranges)

    def memory(self) -> int:
        """Returns about how many bytes the records take; see `connectors.kafka.memory`."""
        return memory_of(self.messages) + sum(own.memory for own in self.own_ranges)

    def by_partition(self) -> dict[int, list[Message]]:
        """Returns the fetched messages of each partition, in offset order."""
        parts: dict[int, list[Message]] = defaultdict(list)
        for message in self.messages:
            parts[partition_of(message)].append(message)
        return dict(parts)

    def followed_by(self, later: Batch) -> Batch:
        """Returns this batch joined with the one consumed after it. Both must be of the same epoch."""
        starts = {**later.starts, **self.starts}
        own, unreadable = (*self.own_ranges, *later.own_ranges), (*self.unreadable, *later.unreadable)
        return Batch(self.epoch, self.messages + later.messages, starts, own, unreadable)

    def ends(self) -> dict[int, int]:
        """Return, for each partition, the offset after its last record."""
        ends: dict[int, int] = {}
        for own in self.own_ranges:
            ends[own.partition] = own.end
        for skipped in self.unreadable:
            ends[skipped.partition] = max(ends.get(skipped.partition, 0), skipped.end)
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
    """Returns the partition of a consumed message.

    Raises:
        ValueError: The message was not consumed. The client's type allows None for messages that are produced.
    """
    partition: int | None = message.partition()
    if partition is None:
        raise ValueError("a consumed message has a partition")
    return partition


def offset_of(message: Message) -> int:
    """Returns the offset of a consumed message.

    Raises:
        ValueError: The message was not consumed.
    """
    offset: int | None = message.offset()
    if offset is None:
        raise ValueError("a consumed message has an offset")
    return offset
