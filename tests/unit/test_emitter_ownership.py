"""Which worker publishes a shard, and what happens when publishing fails. Integration tests show the fencing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import Outgoing
from connectors.kafka.transactional import FencedError
from streams.metrics import Metrics
from streams.pipeline import emitter as module
from streams.pipeline.emitter import Emitter
from streams.settings import Settings
from streams.windows.reader import Row
from streams.windows.store import ShardTimes
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS, make_settings

METRICS = Metrics()


class FakeApp:
    def __init__(self) -> None:
        self.crashes: list[BaseException] = []

    async def crash(self, exc: BaseException) -> None:
        self.crashes.append(exc)


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
        return self.time

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
    on_rollback: Callable[[int], None] = lambda shard: pytest.fail("rolled back"),
) -> Emitter:
    """Returns an emitter. By default it knows of no applied offsets, and so finds no rollback."""
    kafka = KafkaConfig("127.0.0.1:1")
    return Emitter(
        app,
        settings,
        kafka,
        store,
        metrics,
        applied=applied,
        on_rollback=on_rollback,
        behind=behind,
    )


class Bench:
    """An emitter with a fake store and fake producers.

    `fails` and `fails_to_open` hold what the next publications and take-overs raise, by transactional id.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, shards: int = 4, partitions: int = 2, **more: Any) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.fails: dict[str, list[Exception]] = {}
        self.fails_to_open: dict[str, list[Exception]] = {}
        self.while_publishing: Any = None
        bench = self

        class FakeProducer:
            def __init__(self, config: KafkaConfig, transactional_id: str) -> None:
                self.id = transactional_id
                if bench.fails_to_open.get(self.id):
                    raise bench.fails_to_open[self.id].pop(0)
                bench.log.append(("open", self.id))

            def publish(self, records: Sequence[Outgoing]) -> None:
                if bench.while_publishing is not None:
                    bench.while_publishing()
                if bench.fails.get(self.id):
                    raise bench.fails[self.id].pop(0)
                bench.log.append(("publish", self.id, len(records)))

            def close(self) -> None:
                bench.log.append(("close", self.id))

        monkeypatch.setattr(module, "TransactionalProducer", FakeProducer)
        self.app: Any = FakeApp()
        self.store: Any = FakeStore(shards, self.log)
        self.metrics = Metrics()
        self.behind = False
        self.applied: dict[int, dict[int, int]] = {}
        self.rolled_back: list[int] = []
        settings = make_settings(shards=shards, partitions=partitions, group_prefix="e", **more)
        self.emitter = make_emitter(
            self.app,
            settings,
            self.store,
            self.metrics,
            behind=lambda: self.behind,
            applied=lambda shard: self.applied.get(shard, {}),
            on_rollback=self.rolled_back.append,
        )

    async def tick(self) -> list[tuple[Any, ...]]:
        """Run one emission interval; returns what it logged."""
        before = len(self.log)
        await self.emitter._tick()
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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@given(st.integers(1, 12), st.integers(1, 40), st.data())
def test_every_shard_has_exactly_one_owner(partitions: int, shards: int, data: st.DataObject) -> None:
    settings = make_settings(partitions=partitions, shards=shards)
    # Any division of the partitions among up to four workers, some of which may have none.
    holders = [data.draw(st.integers(0, 3)) for _ in range(partitions)]
    owned: list[int] = []
    for worker in range(4):
        emitter = make_emitter(FakeApp(), settings, FakeStore(shards, []), METRICS)
        emitter.own(frozenset(p for p, holder in enumerate(holders) if holder == worker))
        owned += emitter.owned()
    assert sorted(owned) == list(range(shards))


async def test_nothing_is_published_without_partitions(bench: Bench) -> None:
    bench.store.change(0)
    assert await bench.tick() == []


async def test_windows_are_published_under_their_shards_id_then_cleared(bench: Bench) -> None:
    bench.emitter.own(frozenset({1}))
    bench.store.change(1, 3)
    bench.store.change(0)
    assert await bench.tick() == [
        ("open", "e-windows-1"),
        ("publish", "e-windows-1", 3),
        ("clear", 1, 3),
        ("open", "e-windows-3"),
    ]
    assert bench.store.waiting[1] == {}
    assert len(bench.store.waiting[0]) == 1


async def test_a_producer_is_kept_for_the_next_interval(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    await bench.tick()
    bench.store.change(0)
    assert await bench.tick() == [("publish", "e-windows-0", 1), ("clear", 0, 1)]


async def test_nothing_changes_while_the_tables_are_sealed(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    bench.store.time = ShardTimes({}, {0: NOON_MS}, {0: 0.0}, None, sealed=True)
    assert {entry[0] for entry in await bench.tick()} == {"open"}
    bench.store.time = ShardTimes({}, {}, {}, None)
    bench.store.current = 3
    assert ("publish", "e-windows-0", 1) in await bench.tick()
    assert bench.metrics.registry.get_sample_value("emostream_window_generation") == 3


@pytest.mark.parametrize(
    ("refusal", "cause"), [(UnavailableError("away"), "unavailable"), (RejectedError("no rights"), "refused")]
)
async def test_a_failure_to_read_the_generation_is_counted(bench: Bench, refusal: Exception, cause: str) -> None:
    bench.emitter.own(frozenset({0}))
    bench.store.refusal = refusal
    if cause == "refused":
        with pytest.raises(RejectedError):
            await bench.tick()
    else:
        assert await bench.tick() == []
    assert bench.failures(cause) == 1
    assert bench.app.crashes == ([refusal] if cause == "refused" else [])


async def test_windows_that_are_gone_are_cleared_and_not_published(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    bench.store.change(0, 2, gone=True)
    assert await bench.tick() == [("open", "e-windows-0"), ("clear", 0, 2), ("open", "e-windows-2")]


async def test_longer_windows_are_published_less_often(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    assert await bench.published(12) == [3, 1, 1, 1, 1, 2, 1, 1, 1, 1, 3, 1]
    bench.emitter.own(frozenset({0}))
    assert await bench.published(2) == [3, 1], "with a new assignment all sizes are due"


async def test_while_the_worker_is_behind_windows_are_published_ten_times_less_often(bench: Bench) -> None:
    bench.behind = True
    bench.emitter.own(frozenset({0}))
    published = await bench.published(102)
    assert {interval: windows for interval, windows in enumerate(published) if windows} == {
        0: 3,
        **dict.fromkeys(range(10, 100, 10), 1),
        50: 2,
        100: 3,
    }
    bench.behind = False
    assert await bench.published(4) == [1, 1, 1, 2]


async def test_more_than_one_transaction_in_an_interval(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISH_LIMIT", 2)
    bench.emitter.own(frozenset({0}))
    bench.store.change(0, 5)
    published = [entry[2] for entry in await bench.tick() if entry[0] == "publish"]
    assert published == [2, 2, 1]


async def test_a_shard_that_does_not_stop_changing_leaves_room_for_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUBLISH_LIMIT", 1)
    monkeypatch.setattr(module, "TRANSACTIONS_PER_SHARD", 3)
    bench.emitter.own(frozenset({0}))
    bench.store.change(0, 10)
    bench.store.change(2, 1)
    published = [entry[1] for entry in await bench.tick() if entry[0] == "publish"]
    assert published == ["e-windows-0"] * 3 + ["e-windows-2"]


async def test_marks_stay_until_the_windows_are_published(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    bench.fails["e-windows-0"] = [UnavailableError("aborted")]
    done = await bench.tick()
    assert ("close", "e-windows-0") in done
    assert not any(entry[0] in {"publish", "clear"} for entry in done)
    assert len(bench.store.waiting[0]) == 1
    assert bench.failures("unavailable") == 1
    assert await bench.tick() == [("open", "e-windows-0"), ("publish", "e-windows-0", 1), ("clear", 0, 1)]


async def test_a_take_over_without_an_answer_is_tried_again(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    bench.fails_to_open["e-windows-0"] = [UnavailableError("no broker")]
    assert await bench.tick() == [("open", "e-windows-2")]
    assert await bench.tick() == [("open", "e-windows-0")]


@pytest.mark.parametrize("when", ["publishing", "opening"])
async def test_a_fenced_shard_is_left_to_its_owner_until_the_next_assignment(bench: Bench, when: str) -> None:
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    (bench.fails if when == "publishing" else bench.fails_to_open)["e-windows-0"] = [FencedError("taken over")]
    await bench.tick()
    assert bench.failures("fenced") == 1
    assert await bench.tick() == []
    assert len(bench.store.waiting[0]) == 1
    bench.emitter.own(frozenset({0}))  # the same partitions in a new assignment
    assert ("publish", "e-windows-0", 1) in await bench.tick()
    assert bench.app.crashes == []


async def test_a_new_assignment_closes_every_producer_first(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    await bench.tick()
    bench.emitter.own(frozenset({1}))
    assert await bench.tick() == [
        ("close", "e-windows-0"),
        ("close", "e-windows-2"),
        ("open", "e-windows-1"),
        ("open", "e-windows-3"),
    ]


async def test_ids_are_not_taken_over_after_the_assignment_has_ended(bench: Bench) -> None:
    # Shard 0 is being published when the partitions move to another worker. Opening shard 2 now would fence that
    # worker, which would not try again for a while.
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    bench.while_publishing = lambda: bench.emitter.own(frozenset())
    assert ("open", "e-windows-2") not in await bench.tick()
    assert await bench.tick() == [("close", "e-windows-0")]


async def test_a_refusal_stops_the_worker(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    refused = RejectedError("not authorized")
    bench.fails["e-windows-0"] = [refused]
    with pytest.raises(RejectedError):
        await bench.tick()
    assert bench.app.crashes == [refused]
    assert bench.failures("refused") == 1


async def test_stopping_closes_the_producers_and_keeps_the_marks(bench: Bench) -> None:
    bench.emitter.own(frozenset({0}))
    await bench.tick()
    bench.store.change(0)
    await bench.emitter.on_stop()
    assert bench.log[-2:] == [("close", "e-windows-0"), ("close", "e-windows-2")]
    assert len(bench.store.waiting[0]) == 1


async def test_the_loop_runs_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, shards=1, partitions=1, emit_interval_ms=50)
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    await bench.emitter.start()
    async with asyncio.timeout(60):
        await bench.store.cleared.wait()
        await bench.emitter.stop()
    assert bench.log[-1] == ("close", "e-windows-0")


# The watermark: lateness 10 s, idle after 30 s.

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("times", "finalized_to", "expired_to"),
    [
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 1.0, 1: 29.9}, None), NOON_MS - 10_000, NOON_MS),
        # Partition 0 is idle. It no longer holds the watermark back, but its windows are kept for its next posts.
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 30.0, 1: 0.0}, None), NOON_MS - 5_000, NOON_MS),
        # It is active again. The watermark does not go back.
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 0.0, 1: 0.0}, NOON_MS - 5_000), NOON_MS - 5_000, NOON_MS),
        (ShardTimes({}, {0: NOON_MS, 1: NOON_MS + 5_000}, {0: 99.0, 1: 99.0}, 0), NOON_MS - 5_000, NOON_MS),
    ],
)
async def test_windows_are_finalized_by_the_watermark_and_expired_by_the_slowest_partition(
    monkeypatch: pytest.MonkeyPatch, times: ShardTimes, finalized_to: int, expired_to: int
) -> None:
    bench = Bench(monkeypatch, shards=1, partitions=1, window_sizes="1m:2d,1h:30d")
    bench.emitter.own(frozenset({0}))
    # The earliest windows end exactly at the limits.
    due = {60: expired_to - 2 * DAY_MS, 3_600: expired_to - 30 * DAY_MS}
    bench.store.time = replace(times, first_open=finalized_to, first_kept=due)
    assert await bench.tick() == [
        ("open", "e-windows-0"),
        ("finalize", 0, finalized_to),
        ("expire", 0, 60, due[60]),
        ("expire", 0, 3_600, due[3_600]),
    ]
    # They end a millisecond later. Then, as most of the time, only the watermark is stored.
    bench.store.time = replace(times, first_open=finalized_to + 1, first_kept={60: due[60] + 1})
    assert await bench.tick() == [("watermark", 0, finalized_to)]
    bench.store.time = times
    assert await bench.tick() == [("watermark", 0, finalized_to)]


async def test_finalizing_and_expiring_go_on_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, shards=1, partitions=1)
    bench.emitter.own(frozenset({0}))
    bench.store.time = ShardTimes({}, {0: NOON_MS}, {0: 0.0}, None, first_open=0, first_kept={60: 0})
    bench.store.open, bench.store.old = 1_200, 501
    await bench.tick()
    assert (bench.store.open, bench.store.old) == (0, 0)


async def test_a_fenced_shard_is_taken_over_again_after_a_while(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A former owner may start its take-over before our assignment, and finish it after ours."""
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    bench.fails["e-windows-0"] = [FencedError("taken over")]
    await bench.tick()
    monkeypatch.setattr("streams.pipeline.emitter.FENCED_RETRY_S", 0.0)
    assert ("publish", "e-windows-0", 1) in await bench.tick()


async def test_a_shard_that_was_rolled_back_is_reported_and_not_published(bench: Bench) -> None:
    """No partition has a new batch that would notice the rollback."""
    bench.applied[0] = {0: 7, 1: 3}
    bench.emitter.own(frozenset({0}))
    bench.store.change(0)
    for offsets, expected in (({0: 7, 1: 2}, [0]), ({0: 7}, [0, 0]), ({0: 7, 1: 3}, [0, 0]), ({0: 9, 1: 3}, [0, 0])):
        bench.store.time = ShardTimes(offsets, {}, {}, None)
        published = [entry for entry in await bench.tick() if entry[0] == "publish"]
        assert bench.rolled_back == expected
        assert published == ([("publish", "e-windows-0", 1)] if offsets == {0: 7, 1: 3} else [])
