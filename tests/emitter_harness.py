"""An emitter with a fake store, fake producers and a fake app, whose calls the test reads from a log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import Outgoing
from streams.metrics import Metrics
from streams.pipeline import emitter as module
from streams.pipeline.emitter import Emitter
from streams.settings import Settings
from streams.windows.reader import Row
from streams.windows.store import ShardTimes
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS, FakeApp, make_settings


class FakeStore:
    """Shards with dirty windows. `log` has every call that changes something."""

    def __init__(self, shards: int, log: list[tuple[Any, ...]]) -> None:
        self.shards = shards
        self.sizes = (60, 300, 3_600)
        self.log = log
        self.waiting: dict[int, dict[WindowKey, dict[str, str]]] = {shard: {} for shard in range(shards)}
        self.time = ShardTimes({}, {}, {}, None)
        self.open = 0
        self.old = 0
        self.cleared = asyncio.Event()
        self.generation = 0
        self.current = 0
        self.refusal: Exception | None = None

    async def refresh(self) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.generation = self.current
        return self.generation

    def at(self, generation: int) -> FakeStore:
        assert generation == self.current, "only the current generation is published"
        return self

    def change(self, shard: int, count: int = 1, *, gone: bool = False, size: int = 60) -> None:
        row = {"n": "1", "first": str(NOON_MS), "last": str(NOON_MS), "rev": "7"}
        for number in range(count):
            key = WindowKey(f"word-{number}", size, NOON_MS)
            self.waiting[shard][key] = {} if gone else row

    async def times(self, shard: int) -> ShardTimes:
        return replace(self.time, dirty=len(self.waiting[shard]))

    async def finalize(self, shard: int, watermark_ms: int) -> int:
        self.log.append(("finalize", shard, watermark_ms))
        self.open, done = max(0, self.open - 500), min(500, self.open)
        return done

    async def note_watermark(self, shard: int, watermark_ms: int) -> None:
        self.log.append(("watermark", shard, watermark_ms))

    async def expire(self, shard: int, size: int, before_ms: int) -> int:
        self.log.append(("expire", shard, size, before_ms))
        self.old, done = max(0, self.old - 500), min(500, self.old)
        return done

    async def dirty(self, shard: int, limit: int, sizes: Sequence[int]) -> list[Row]:
        return [row for row in self.waiting[shard].items() if row[0].size in sizes][:limit]

    async def clear_dirty(self, shard: int, rows: Sequence[Row]) -> None:
        self.log.append(("clear", shard, len(rows)))
        for key, _ in rows:
            del self.waiting[shard][key]
        self.cleared.set()


def make_emitter(
    app: Any,
    settings: Settings,
    store: Any,
    metrics: Metrics,
    *,
    behind: Callable[[], bool] = lambda: False,
    applied: Callable[[int], Mapping[int, int]] = lambda shard: {},
    on_set_back: Callable[[int], None] = lambda shard: pytest.fail("set back"),
) -> Emitter:
    """Returns an emitter. By default it knows of no applied offsets, and so does not find that Redis was set back."""
    kafka = KafkaConfig("127.0.0.1:1")
    return Emitter(
        app,
        settings,
        kafka,
        store,
        metrics,
        applied=applied,
        on_set_back=on_set_back,
        behind=behind,
    )


class Harness:
    """An emitter with a fake store and fake producers.

    `fails` and `fails_to_open` hold what the next publications and take-overs raise, by transactional id.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, shards: int = 4, partitions: int = 2, **more: Any) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.fails: dict[str, list[Exception]] = {}
        self.fails_to_open: dict[str, list[Exception]] = {}
        self.while_publishing: Any = None
        harness = self

        class FakeProducer:
            def __init__(self, config: KafkaConfig, transactional_id: str) -> None:
                self.id = transactional_id
                if harness.fails_to_open.get(self.id):
                    raise harness.fails_to_open[self.id].pop(0)
                harness.log.append(("open", self.id))

            def publish(self, records: Sequence[Outgoing]) -> None:
                if harness.while_publishing is not None:
                    harness.while_publishing()
                if harness.fails.get(self.id):
                    raise harness.fails[self.id].pop(0)
                harness.log.append(("publish", self.id, len(records)))

            def close(self) -> None:
                harness.log.append(("close", self.id))

        monkeypatch.setattr(module, "TransactionalProducer", FakeProducer)
        self.app: Any = FakeApp()
        self.store: Any = FakeStore(shards, self.log)
        self.metrics = Metrics()
        self.behind = False
        self.applied: dict[int, dict[int, int]] = {}
        self.set_back: list[int] = []
        settings = make_settings(shards=shards, partitions=partitions, group_prefix="e", **more)
        self.emitter = make_emitter(
            self.app,
            settings,
            self.store,
            self.metrics,
            behind=lambda: self.behind,
            applied=lambda shard: self.applied.get(shard, {}),
            on_set_back=self.set_back.append,
        )

    async def tick(self) -> list[tuple[Any, ...]]:
        """Run one emission interval; returns what it logged."""
        before = len(self.log)
        await self.emitter.run_interval()
        return self.log[before:]

    async def published(self, intervals: int) -> list[int]:
        """Returns how many windows each interval publishes, if one of every size changes before each."""
        found = []
        for _ in range(intervals):
            for size in self.store.sizes:
                self.store.change(0, size=size)
            found.append(sum(entry[2] for entry in await self.tick() if entry[0] == "publish"))
        return found

    def failures(self, cause: str) -> float:
        return self.metrics.registry.get_sample_value("emostream_emit_failures_total", {"cause": cause}) or 0


@pytest.fixture(name="harness")
def harness_fixture(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)
