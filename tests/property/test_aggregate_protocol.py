"""The whole aggregate protocol against a plain count: crashes, zombies, and tables that are rolled back or emptied.

The stage and the position look-up are the real ones. Redis is a model of its contract (`lua/apply.lua`): per shard, a
compare-and-set on the partition's position together with the windows. `tests/integration` holds the real script to the
same contract.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import UnavailableError
from connectors.kafka.consumer import Batch
from streams.agents.aggregate import AggregateStage, PositionMismatch
from streams.metrics import Metrics
from streams.positions import AggregatePositions
from streams.records import ClassifiedPost, to_ms
from streams.windows.deltas import Position, Reduction
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS, RecordingDeliverer, classified, make_settings, message

KEPT_S = {60: 450, 300: 900}
MAX_FUTURE_S = 20
SETTINGS = {
    (partitions, shards): make_settings(
        window_sizes=",".join(f"{size}:{kept}" for size, kept in KEPT_S.items()),
        shards=shards,
        partitions=partitions,
        max_future_s=MAX_FUTURE_S,
    )
    for partitions in (1, 2)
    for shards in range(1, 5)
}
METRICS = Metrics()


@dataclass
class Shard:
    positions: dict[int, Position] = field(default_factory=dict)
    windows: dict[WindowKey, dict[str, int]] = field(default_factory=dict)
    late: Counter[int] = field(default_factory=Counter)
    complete_from: int | None = None

    def copy(self) -> Shard:
        windows = {key: dict(row) for key, row in self.windows.items()}
        return Shard(dict(self.positions), windows, Counter(self.late), self.complete_from)


class ModelStore:
    """What `WindowStore` and its script promise. `faults` says what befalls the next applies, by shard."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.tables = [Shard() for _ in range(shards)]
        self.faults: dict[int, str] = {}

    async def begun(self, shard: int) -> bool:
        return self.tables[shard].complete_from is not None

    async def begin(self, shard: int, complete_from_ms: int) -> None:
        if self.tables[shard].complete_from is None:
            self.tables[shard].complete_from = complete_from_ms

    async def positions(self, shard: int, partitions: Sequence[int]) -> dict[int, Position]:
        await asyncio.sleep(0)
        return {partition: self.tables[shard].positions.get(partition, Position()) for partition in partitions}

    async def apply(self, shard: int, partition: int, expected: Position, reduction: Reduction) -> int | None:
        await asyncio.sleep(0)
        fault = self.faults.get(shard)
        if fault == "unreached":
            raise UnavailableError("Redis did not answer")
        table = self.tables[shard]
        stored = table.positions.get(partition, Position()).offset
        if stored != (expected.offset if expected.offset >= 0 else -1) or table.complete_from is None:
            return stored
        for key, delta in reduction.windows.items():
            if key not in table.windows and key.start < table.complete_from:
                continue
            row = table.windows.setdefault(key, {"first": delta.first, "last": delta.last})
            for name, amount in delta.fields.items():
                row[name] = row.get(name, 0) + amount
            row["first"], row["last"] = min(row["first"], delta.first), max(row["last"], delta.last)
        table.late.update(note.window.size for note in reduction.too_late)
        table.positions[partition] = reduction.position
        if fault == "answer lost":
            raise UnavailableError("Redis did not answer")
        return None


class Worker:
    """A worker's source and stage. It goes on from what it knows until it is told, as a zombie does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.start()

    def start(self) -> None:
        """A new process."""
        self.positions = AggregatePositions(
            self.world,  # type: ignore[arg-type]
            self.world.settings,
            self.world.store,  # type: ignore[arg-type]
            asyncio.get_running_loop(),
            METRICS,
        )
        self.stage = AggregateStage(
            self.world.settings,
            self.world.store,  # type: ignore[arg-type]
            RecordingDeliverer(),
            METRICS,
            self.positions.gaps,
        )
        self.epoch = 0
        self.next: dict[int, int] = {}

    async def rewind(self) -> None:
        self.epoch += 1
        # Called from the polling thread in a worker: `__call__` hands the reading back to the loop.
        self.next = dict(await asyncio.to_thread(self.positions, range(len(self.world.logs))))

    async def step(self, wanted: int) -> bool:
        """Take a batch; whether it went through."""
        messages, starts = [], {}
        for partition, start in self.next.items():
            log = [entry for entry in self.world.logs[partition] if entry.offset() >= start][:wanted]
            if log:
                messages += log
                starts[partition] = start
        if not messages:
            return True
        # The source hands the messages of several partitions over mixed.
        random.Random(wanted).shuffle(messages)
        messages.sort(key=lambda entry: entry.offset())
        batch = Batch(self.epoch, messages, starts)
        self.next.update(batch.ends())
        try:
            await self.stage.process(batch)
        except (PositionMismatch, UnavailableError):
            await self.rewind()
            return False
        return True


class World:
    def __init__(self, logs: list[list[Any]], shards: int) -> None:
        self.logs = logs
        self.low = [0] * len(logs)
        self.settings = SETTINGS[len(logs), shards]
        self.store = ModelStore(shards)
        self.snapshots: list[list[Shard]] = [[Shard() for _ in range(shards)]]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        log = self.logs[partition]
        return self.low[partition], log[-1].offset() + 1 if log else 0

    def first_message(self, topic: str, partition: int) -> Any:
        return next((entry for entry in self.logs[partition] if entry.offset() >= self.low[partition]), None)

    def expire(self, partition: int, records: int) -> None:
        """Retention takes the first records of a partition."""
        log = self.logs[partition]
        self.low[partition] = log[records].offset() if records < len(log) else self.bounds("", partition)[1]

    def complete_from(self) -> float:
        """From when on every post is there, by the rule of `AggregatePositions`."""
        firsts = [self.first_message("", partition) for partition, low in enumerate(self.low) if low > 0]
        times = [first.timestamp()[1] + MAX_FUTURE_S * 1_000 if first else math.inf for first in firsts]
        return max(times, default=0)

    async def play(self, operations: Sequence[SimpleNamespace]) -> None:
        workers = [Worker(self), Worker(self)]
        for op in operations:
            worker = workers[op.worker]
            if op.kind == "batch":
                self.store.faults = op.faults
                await worker.step(op.number + 1)
                self.store.faults = {}
            elif op.kind == "restart":
                worker.start()
                await worker.rewind()
            elif op.kind == "rebalance":
                await worker.rewind()
            elif op.kind == "snapshot":
                self.snapshots.append([shard.copy() for shard in self.store.tables])
            elif op.kind == "rollback":
                # Each shard may lie on another server, which falls back on its own.
                older = self.snapshots[op.number % len(self.snapshots)]
                for shard in op.some:
                    if shard < self.store.shards:
                        self.store.tables[shard] = older[shard].copy()
            else:
                self.store.tables = [Shard() for _ in range(self.store.shards)]
        # In the end one of them is left, and nothing fails any more.
        await workers[0].rewind()
        for _ in range(200):
            if await workers[0].step(10) and all(
                workers[0].next[p] == self.bounds("", p)[1] for p in range(len(self.logs))
            ):
                return
        pytest.fail("the worker does not get to the end")


def count_distinct(logs: list[list[ClassifiedPost]]) -> tuple[dict[WindowKey, dict[str, int]], Counter[int]]:
    tables: dict[WindowKey, dict[str, int]] = {}
    late: Counter[int] = Counter()
    for log in logs:
        seen, time = set(), -1
        for post in log:
            if post.origin.offset in seen:
                continue
            seen.add(post.origin.offset)
            at = to_ms(post.created_at)
            for size, kept in KEPT_S.items():
                start = at - at % (size * 1_000)
                if start + (size + kept) * 1_000 <= time:
                    late[size] += 1
                    continue
                for word in {"*", *post.keywords}:
                    row = tables.setdefault(WindowKey(word, size, start), {"first": at, "last": at})
                    for name in ("n", f"l:{post.label}", "m:1.0.0", "s:test"):
                        row[name] = row.get(name, 0) + 1
                    confidence = f"c:{post.label}"
                    row[confidence] = row.get(confidence, 0) + round(post.confidence * 1_000_000)
                    row["first"], row["last"] = min(row["first"], at), max(row["last"], at)
            time = max(time, at)
    return tables, late


def make_log(seed: random.Random, partition: int) -> list[ClassifiedPost]:
    """Posts in raw order, with dead letters missing and old ones delivered again by another model's hand."""
    log: list[ClassifiedPost] = []
    origin = -1
    for _ in range(seed.randrange(25)):
        if log and seed.random() < 0.25:
            again = seed.randrange(len(log))
            log += [post.model_copy(update={"label": "fear"}) for post in log[again : again + seed.randrange(1, 6)]]
            continue
        origin += seed.choice([1, 1, 1, 2])
        log.append(
            classified(
                origin,
                partition=partition,
                at=NOON_MS + seed.randrange(1_200_000),
                keywords=seed.sample(["coffee", "tea", "rain"], seed.randrange(3)),
                label=seed.choice(["joy", "anger"]),
                confidence=seed.random(),
            )
        )
    return log


def to_messages(log: list[ClassifiedPost], partition: int, seed: random.Random) -> list[Any]:
    offset, found, appended = 0, [], 0
    for post in log:
        value = post.model_dump_json().encode()
        # The broker's clock, which no post may be ahead of by more than `max_future_s`.
        appended = max(appended, to_ms(post.created_at) - seed.randrange(MAX_FUTURE_S * 1_000 + 1))
        found.append(message(value, offset=offset, partition=partition, topic="posts.classified", appended=appended))
        offset += seed.choice([1, 1, 1, 3])
    return found


OPERATIONS = st.lists(
    st.builds(
        SimpleNamespace,
        kind=st.sampled_from(
            ["batch", "batch", "batch", "batch", "restart", "rebalance", "snapshot", "rollback", "empty"]
        ),
        worker=st.integers(0, 1),
        number=st.integers(0, 12),
        some=st.sets(st.integers(0, 3), min_size=1),
        faults=st.dictionaries(st.integers(0, 3), st.sampled_from(["unreached", "answer lost"]), max_size=2)
        | st.just({}),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one_loop:
        yield one_loop


@given(OPERATIONS, st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 4))
@settings(max_examples=1_200, deadline=None)
def test_the_tables_are_those_of_a_clean_run(
    runner: asyncio.Runner, operations: list[SimpleNamespace], seed: int, partitions: int, shards: int
) -> None:
    draw = random.Random(seed)
    posts = [make_log(draw, partition) for partition in range(partitions)]
    world = World([to_messages(log, partition, draw) for partition, log in enumerate(posts)], shards)
    runner.run(world.play(operations))
    expected, late = count_distinct(posts)
    found: dict[WindowKey, dict[str, int]] = {}
    for table in world.store.tables:
        assert not found.keys() & table.windows.keys()
        found.update(table.windows)
    assert found == expected
    assert sum((table.late for table in world.store.tables), Counter()) == late


@given(
    OPERATIONS,
    st.integers(0, 2**32),
    st.integers(1, 2),
    st.integers(1, 4),
    st.lists(st.integers(0, 25), min_size=2, max_size=2),
)
@settings(max_examples=500, deadline=None)
def test_windows_are_whole_or_not_made_where_kafka_has_lost_posts(
    runner: asyncio.Runner,
    operations: list[SimpleNamespace],
    seed: int,
    partitions: int,
    shards: int,
    lost: list[int],
) -> None:
    """What was published of a window that can no longer be counted must stay what it is."""
    draw = random.Random(seed)
    posts = [make_log(draw, partition) for partition in range(partitions)]
    world = World([to_messages(log, partition, draw) for partition, log in enumerate(posts)], shards)
    for partition in range(partitions):
        world.expire(partition, lost[partition])
    runner.run(world.play(operations))
    found: dict[WindowKey, dict[str, int]] = {}
    for table in world.store.tables:
        found.update(table.windows)
    expected, _ = count_distinct(posts)
    assert found == {key: row for key, row in expected.items() if key.start >= world.complete_from()}
