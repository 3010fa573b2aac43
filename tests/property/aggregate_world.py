"""Kafka, the window store and two workers in one process, on which properties of the aggregate protocol are tried.

The stage and the lookup of positions are the real ones. `ModelStore` is a model of the contract of `lua/apply.lua`: per
shard, a compare-and-set on the positions together with the windows. Now and then, tables that were rebuilt up to the
same positions become the current ones. `tests/integration` checks the real script against the same contract.
"""

from __future__ import annotations

import asyncio
import copy
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.errors import PositionMismatchError, UnavailableError
from connectors.kafka.batch import Batch, OwnRange
from streams.metrics import Metrics
from streams.pipeline.aggregate import AggregateStage
from streams.pipeline.positions import AggregatePositions
from streams.records import ClassifiedPost, is_from_source
from streams.windows.deltas import Entry, Position, WindowDelta, reduce_entries
from streams.windows.post import PostForCounting
from streams.windows.recent import Horizons
from streams.windows.tumbling import WindowKey
from streams.windows.update import ShardUpdate
from tests.helpers import RecordingDeliverer, make_settings

KEPT_S = {60: 450, 300: 900}
MAX_FUTURE_S = 20
HORIZON_MS = 30_000
NONE = Horizons(0, 0, None)
HORIZONS = (
    NONE,
    Horizons(HORIZON_MS, HORIZON_MS, None),
    Horizons(HORIZON_MS, 0, None),
    Horizons(HORIZON_MS, 10_000, None),
)
SETTINGS = {
    (partitions, shards, horizons): make_settings(
        window_sizes=",".join(f"{size}:{kept}" for size, kept in KEPT_S.items()),
        shards=shards,
        partitions=partitions,
        max_future_s=MAX_FUTURE_S,
        deduplication_s=horizons.others / 1_000,
        source_deduplication_s=horizons.sources / 1_000,
    )
    for partitions in (1, 2)
    for shards in range(1, 5)
    for horizons in HORIZONS
}
METRICS = Metrics()


@dataclass
class Shard:
    positions: dict[int, Position] = field(default_factory=dict)
    windows: dict[WindowKey, dict[str, int]] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    duplicates: int = 0
    complete_from: float | None = None

    def add(self, windows: Mapping[WindowKey, WindowDelta]) -> None:
        for key, delta in windows.items():
            if key not in self.windows and key.start < (self.complete_from or 0):
                continue
            row = self.windows.setdefault(key, {"first": delta.first, "last": delta.last})
            for name, amount in delta.fields.items():
                row[name] = row.get(name, 0) + amount
            row["first"], row["last"] = min(row["first"], delta.first), max(row["last"], delta.last)

    def copy(self) -> Shard:
        windows = {key: dict(row) for key, row in self.windows.items()}
        return replace(self, positions=dict(self.positions), windows=windows, late=Counter(self.late))


class ModelStore:
    """A model of `WindowStore` and its script. `faults` has what happens to the next applies, by shard."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.faults: dict[int, str] = {}
        self.generation = 0
        self._pointer = [0]
        self._generations: dict[int, list[Shard]] = {}

    @property
    def tables(self) -> list[Shard]:
        """The shards of this generation; empty ones if they were removed."""
        return self._generations.setdefault(self.generation, [Shard() for _ in range(self.shards)])

    @tables.setter
    def tables(self, tables: list[Shard]) -> None:
        self._generations[self.generation] = tables

    def switch(self, rebuilt: list[Shard]) -> None:
        """Make rebuilt tables the current ones, and remove the old ones."""
        del self._generations[self.generation]
        self._pointer[0] += 1
        self.generation = self._pointer[0]
        self.tables = rebuilt

    async def refresh(self) -> int:
        self.generation = self._pointer[0]
        return self.generation

    def at(self, generation: int) -> ModelStore:
        pinned = copy.copy(self)
        pinned.generation = generation
        return pinned

    async def sealed(self, shard: int) -> bool:
        return False

    async def check_topology(self, partitions: int) -> None:
        """The model has nothing to check."""

    async def changed_topics(self, ids: Mapping[str, str]) -> list[str]:
        return []

    async def is_initialised(self, shard: int) -> bool:
        return self.tables[shard].complete_from is not None

    async def initialise(self, shard: int, complete_from_ms: int) -> None:
        if self.tables[shard].complete_from is None:
            self.tables[shard].complete_from = complete_from_ms

    async def positions(self, shard: int, partitions: Sequence[int]) -> dict[int, Position]:
        await asyncio.sleep(0)
        return {partition: self.tables[shard].positions.get(partition, Position()) for partition in partitions}

    async def apply_all(self, updates: Mapping[int, ShardUpdate]) -> dict[int, tuple[int, int]]:
        found = await asyncio.gather(*(self.apply(shard, update) for shard, update in updates.items()))
        return {shard: mismatch for shard, mismatch in zip(updates, found, strict=True) if mismatch is not None}

    async def apply(self, shard: int, update: ShardUpdate) -> tuple[int, int] | None:
        await asyncio.sleep(0)
        fault = self.faults.get(shard)
        if fault == "unreached":
            raise UnavailableError("Redis did not answer")
        table = self.tables[shard]
        for partition, change in update.positions.items():
            stored = table.positions.get(partition, Position()).offset
            if stored != max(change.expected.offset, -1) or table.complete_from is None:
                return partition, stored
        table.add(update.windows)
        table.late.update(update.too_late)
        table.duplicates += update.duplicates
        table.positions.update({partition: change.new for partition, change in update.positions.items()})
        if fault == "answer lost":
            raise UnavailableError("Redis did not answer")
        return None


class Worker:
    """A source and an aggregate stage. Like a zombie, it goes on from its own positions until it is told to rewind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.start()

    def start(self) -> None:
        """Start as a new process."""
        store = self.world.store.at(self.world.store.generation)
        self.positions = AggregatePositions(
            self.world,  # type: ignore[arg-type]
            self.world.settings,
            store,  # type: ignore[arg-type]
            asyncio.get_running_loop(),
            METRICS,
        )
        self.stage = AggregateStage(
            self.world.settings,
            store,  # type: ignore[arg-type]
            RecordingDeliverer(),
            METRICS,
            start_positions=self.positions,
            is_current=lambda batch: True,
        )
        self.epoch = 0
        self.next: dict[int, int] = {}

    async def rewind(self) -> None:
        self.epoch += 1
        # In another thread, as in a worker: the lookup runs its reads in the event loop.
        self.next = dict(await asyncio.to_thread(self.positions, range(len(self.world.logs))))

    async def step(self, wanted: int) -> bool:
        """Process a batch; returns whether it was applied."""
        messages, starts = [], {}
        for partition, start in self.next.items():
            log = [entry for entry in self.world.logs[partition] if entry.offset() >= start][:wanted]
            if log:
                messages += log
                starts[partition] = start
        if not messages:
            return True
        # A batch has messages of several partitions, mixed, and runs of posts that the worker wrote itself.
        chance = random.Random(wanted)
        own_ranges = []
        if not self.world.settings.deduplication_s:
            # The classify stage does not keep posts of sources, if their duplicates are looked for.
            is_fetched = is_from_source if self.world.settings.source_deduplication_s else lambda _: False
            known = [message for message in messages if not is_fetched(message.key()) and chance.random() < 0.5]
            messages = [message for message in messages if message not in known]
            own_ranges = [
                OwnRange(
                    entry.partition(), entry.offset(), [PostForCounting.of(ClassifiedPost.from_json(entry.value()))], 1
                )
                for entry in known
            ]
        chance.shuffle(messages)
        messages.sort(key=lambda entry: entry.offset())
        batch = Batch(self.epoch, messages, starts, own_ranges)
        self.next.update(batch.ends())
        try:
            await self.stage.process(batch)
        except (PositionMismatchError, UnavailableError):
            await self.rewind()
            return False
        return True


class World:
    def __init__(self, logs: list[list[Any]], shards: int, horizons: Horizons = NONE) -> None:
        self.logs = logs
        self.low = [0] * len(logs)
        self.horizons = horizons
        self.settings = SETTINGS[len(logs), shards, horizons]
        self.store = ModelStore(shards)
        self.snapshots: list[list[Shard]] = [[Shard() for _ in range(shards)]]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        if topic == self.settings.topic_sources:
            return 0, sum(is_from_source(entry.key()) for log in self.logs for entry in log)
        log = self.logs[partition]
        return self.low[partition], log[-1].offset() + 1 if log else 0

    def all_bounds(self, topic: str, partitions: Sequence[int], deadline: Any = None) -> dict[int, tuple[int, int]]:
        return {partition: self.bounds(topic, partition) for partition in partitions}

    def first_message(self, topic: str, partition: int, deadline: Any = None) -> Any:
        return next((entry for entry in self.logs[partition] if entry.offset() >= self.low[partition]), None)

    def offset_at(self, topic: str, partition: int, appended_ms: int) -> int | None:
        found = (entry.offset() for entry in self.between(topic, partition, 0) if entry.timestamp()[1] >= appended_ms)
        return next(found, None)

    def between(
        self, topic: str, partition: int, start: int, end: float = math.inf, on_unreadable: Any = None
    ) -> Iterator[Any]:
        low = max(start, self.low[partition])
        return (entry for entry in self.logs[partition] if low <= entry.offset() < end)

    def expire(self, partition: int, records: int) -> None:
        """Delete the first records of a partition, as retention does."""
        log = self.logs[partition]
        self.low[partition] = log[records].offset() if records < len(log) else self.bounds("", partition)[1]

    def complete_from(self) -> float:
        """Returns the event time from which every post is there, by the rule of `AggregatePositions`."""
        firsts = [self.first_message("", partition) for partition, low in enumerate(self.low) if low > 0]
        times = [first.timestamp()[1] + MAX_FUTURE_S * 1_000 if first else math.inf for first in firsts]
        return max(times, default=0)

    def rebuilt(self) -> list[Shard]:
        """Returns tables with the positions of the current ones, counted from what Kafka holds."""
        return [self.recounted(shard) for shard in range(self.store.shards)]

    def recounted(self, shard: int) -> Shard:
        old, found = self.store.tables[shard], Shard(complete_from=self.complete_from())
        for partition in range(len(self.logs)):
            end = self.bounds("", partition)[1]
            target = end if old.complete_from is None else old.positions.get(partition, Position()).offset
            if target <= self.low[partition]:
                continue
            recent = self.horizons.begin()
            entries = []
            for entry in self.between("", partition, 0, target):
                again = recent is not None and recent.add(entry.offset(), entry.key(), entry.timestamp()[1])
                entries.append(
                    Entry(entry.offset(), PostForCounting.of(ClassifiedPost.from_json(entry.value())), again)
                )
            every = [Position()] * self.store.shards
            deltas = reduce_entries(entries, positions=every, end=target, sizes=self.settings.window_sizes)[shard]
            found.add(deltas.windows)
            found.positions[partition] = deltas.position
            found.late.update(post.window.size for post in deltas.too_late)
            found.duplicates += deltas.duplicates
        return found

    async def play(self, operations: Sequence[SimpleNamespace]) -> None:
        workers = [Worker(self), Worker(self)]
        for op in operations:
            worker = workers[op.worker]
            if op.kind == "batch":
                self.store.faults.update(op.faults)
                await worker.step(op.number + 1)
                self.store.faults.clear()
            elif op.kind == "restart":
                worker.start()
                await worker.rewind()
            elif op.kind == "rebalance":
                await worker.rewind()
            elif op.kind == "snapshot":
                self.snapshots.append([shard.copy() for shard in self.store.tables])
            elif op.kind == "rollback":
                # Each shard may lie on another server, which is rolled back by itself.
                older = self.snapshots[op.number % len(self.snapshots)]
                for shard in op.some:
                    if shard < self.store.shards:
                        self.store.tables[shard] = older[shard].copy()
            elif op.kind == "switch":
                self.store.switch(self.rebuilt())
            else:
                self.store.tables = [Shard() for _ in range(self.store.shards)]
        # In the end only one worker is left, and nothing fails any more.
        await workers[0].rewind()
        for _ in range(200):
            if await workers[0].step(10) and all(
                workers[0].next[p] == self.bounds("", p)[1] for p in range(len(self.logs))
            ):
                return
        pytest.fail("the worker does not reach the end")
