"""An aggregate stage with fake window tables, whose updates the test reads."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from connectors.kafka.batch import Batch
from streams.metrics import Metrics
from streams.pipeline.aggregate import AggregateStage
from streams.records import ClassifiedPost
from streams.windows.deltas import Position
from streams.windows.recent import RecentPosts
from streams.windows.update import ShardUpdate
from tests.helpers import RecordingDeliverer, make_settings, message


class FakeStore:
    """The compare-and-set on positions. `applied` keeps every update that was applied, `reads` every shard read."""

    def __init__(self, shards: int = 2) -> None:
        self.shards = shards
        self.stored: dict[tuple[int, int], Position] = {}
        self.applied: list[tuple[int, ShardUpdate]] = []
        self.reads: list[int] = []
        self.generation = 0
        self.generations: dict[int, FakeStore] = {0: self}

    def at(self, generation: int) -> FakeStore:
        pinned = copy.copy(self.generations[generation])
        pinned.generation = generation
        return pinned

    async def positions(self, shard: int, partitions: Sequence[int]) -> dict[int, Position]:
        self.reads.append(shard)
        return {partition: self.stored.get((shard, partition), Position()) for partition in partitions}

    async def apply_all(self, updates: Mapping[int, ShardUpdate]) -> dict[int, tuple[int, int]]:
        found = await asyncio.gather(*(self.apply(shard, update) for shard, update in updates.items()))
        return {shard: mismatch for shard, mismatch in zip(updates, found, strict=True) if mismatch is not None}

    async def apply(self, shard: int, update: ShardUpdate) -> tuple[int, int] | None:
        await asyncio.sleep(0)
        for partition, change in update.positions.items():
            stored = self.stored.get((shard, partition), Position())
            if stored.offset != change.expected.offset:
                return partition, stored.offset
        self.stored.update({(shard, partition): change.new for partition, change in update.positions.items()})
        self.applied.append((shard, update))
        return None

    def counts(self) -> Counter[str]:
        """Returns the number of posts of each keyword, in the windows of a minute."""
        found: Counter[str] = Counter()
        for _, update in self.applied:
            found.update({key.keyword: delta.fields["n"] for key, delta in update.windows.items() if key.size == 60})
        return found


class Harness:
    def __init__(self, store: FakeStore | None = None, out: RecordingDeliverer | None = None, **overrides: Any) -> None:
        self.store = store or FakeStore()
        self.out = out or RecordingDeliverer()
        self.metrics = Metrics()
        self.gaps: dict[int, int] = {}
        self.recent_posts: dict[int, RecentPosts] = {}
        # Most tests are about posts of which no ids are remembered.
        settings = make_settings(**{"shards": self.store.shards, "source_deduplication_s": 0, **overrides})
        self.epoch = 1
        self.stage = AggregateStage(
            settings,
            self.store,  # type: ignore[arg-type]
            self.out,
            self.metrics,
            start_positions=self,
            is_current=lambda batch: batch.epoch == self.epoch,
        )

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


def batch(*posts: ClassifiedPost | bytes, start: int = 0, partition: int = 0, epoch: int = 1) -> Batch:
    """Posts at consecutive offsets of the classified topic."""
    values = [post if isinstance(post, bytes) else post.to_json() for post in posts]
    messages = [
        message(value, offset=offset, partition=partition, topic="posts.classified", key=b"key")
        for offset, value in enumerate(values, start)
    ]
    return Batch(epoch, messages, {partition: start})
