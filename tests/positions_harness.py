"""The lookup of the aggregate stage's positions, with a fake reader of Kafka and fake window tables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Message

from connectors.deadline import Deadline
from streams.metrics import Metrics
from streams.pipeline.positions import AggregatePositions
from streams.windows.deltas import Position
from tests.helpers import make_settings


class FakeReader:
    def __init__(self) -> None:
        self.ranges: dict[int, tuple[int, int]] = {}
        self.topic_ranges: dict[str, tuple[int, int]] = {"emostream.sources": (0, 0)}
        self.commits: dict[int, int] = {}
        self.last: dict[int, Message] = {}
        self.first: dict[int, Message] = {}
        self.deadlines: list[Deadline] = []
        self.log: list[Message] = []  # of the classified topic
        self.read: list[int] = []

    def between(self, topic: str, partition: int, start: int, end: int) -> Iterator[Message]:
        for found in self.log:
            if found.partition() == partition and start <= (found.offset() or 0) < end:
                self.read.append(found.offset() or 0)
                yield found

    def offset_at(self, topic: str, partition: int, appended_ms: int) -> int | None:
        return next((found.offset() for found in self.log if found.timestamp()[1] >= appended_ms), None)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self.ranges.get(partition, (0, 100))

    def all_bounds(self, topic: str, partitions: Sequence[int], deadline: Deadline) -> dict[int, tuple[int, int]]:
        self.deadlines.append(deadline)
        every = self.topic_ranges.get(topic)
        return {partition: every or self.ranges.get(partition, (0, 100)) for partition in partitions}

    def committed(self, topic: str, partitions: Sequence[int], deadline: Deadline) -> dict[int, int]:
        self.deadlines.append(deadline)
        return {partition: offset for partition, offset in self.commits.items() if partition in partitions}

    def last_messages(self, topic: str, partitions: Sequence[int], deadline: Deadline) -> dict[int, Message]:
        self.deadlines.append(deadline)
        return {partition: last for partition, last in self.last.items() if partition in partitions}

    def first_message(self, topic: str, partition: int, deadline: Deadline) -> Message | None:
        self.deadlines.append(deadline)
        return self.first.get(partition)


class FakeStore:
    def __init__(self, *shards: dict[int, int]) -> None:
        self.stored = shards
        self.shards = len(shards)
        self.hangs = False
        self.complete_from: dict[int, int] = {}
        self.sealed_shards: set[int] = set()
        self.described: list[int] = []
        self.changed: list[str] = []

    async def refresh(self) -> int:
        return 3

    def at(self, generation: int) -> FakeStore:
        assert generation == 3, "positions are those of the current generation"
        return self

    async def sealed(self, shard: int) -> bool:
        return shard in self.sealed_shards

    async def check_topology(self, partitions: int) -> None:
        self.described.append(partitions)

    async def changed_topics(self, ids: Mapping[str, str]) -> list[str]:
        return self.changed

    async def is_initialised(self, shard: int) -> bool:
        return shard in self.complete_from

    async def initialise(self, shard: int, complete_from_ms: int) -> None:
        self.complete_from[shard] = complete_from_ms

    async def positions(self, shard: int, partitions: Sequence[int]) -> dict[int, Position]:
        if self.hangs:
            await asyncio.sleep(60)
        return {partition: Position(self.stored[shard].get(partition, -1)) for partition in partitions}


async def look_up(
    reader: FakeReader, store: FakeStore, partitions: Sequence[int], **overrides: float
) -> tuple[Any, AggregatePositions, Metrics]:
    metrics = Metrics()
    positions: Any = AggregatePositions(
        reader,  # type: ignore[arg-type]
        make_settings(partitions=2, max_future_s=300, **overrides),
        store,  # type: ignore[arg-type]
        asyncio.get_running_loop(),
        metrics,
    )
    return await asyncio.to_thread(positions, partitions), positions, metrics
