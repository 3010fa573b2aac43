"""A batch is delivered, or fetched again, or it stops the app; and what `BatchSource` does meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import faust
import pytest

from connectors.errors import ConnectorError, PositionError, PositionMismatchError, RejectedError, UnavailableError
from connectors.kafka import source as source_module
from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.source import BatchSource
from streams.metrics import Metrics
from streams.pipeline import batches as batches_module
from streams.pipeline.batches import PipelinedStage, run_batch
from tests.helpers import message


class FakeApp:
    def __init__(self) -> None:
        self.crashes: list[BaseException] = []

    async def crash(self, exc: BaseException) -> None:
        self.crashes.append(exc)


class FakeConsumer:
    """A consumer whose assignment has epoch 1."""

    is_paused = False

    def __init__(self) -> None:
        self.epoch = 1
        self.calls: list[tuple[str, Any]] = []

    def is_current(self, batch: Batch) -> bool:
        return batch.epoch == self.epoch

    def done(self, batch: Batch) -> None:
        self.calls.append(("done", batch))

    def rewind(self, reason: str) -> None:
        self.epoch += 1
        self.calls.append(("rewind", reason))


class Bench:
    def __init__(self, session_timeout_ms: int = 60_000, *, batch_max: int = 1, batch_wait_s: float = 0.1) -> None:
        self.app: Any = FakeApp()
        self.metrics = Metrics()
        self.consumer: Any = FakeConsumer()
        self.source = BatchSource(
            faust.App("test-run-batch"),
            KafkaConfig("127.0.0.1:1", session_timeout_ms=session_timeout_ms),
            group="g",
            topic="posts.raw",
            positions=lambda partitions: {},
            batch_max=batch_max,
            batch_wait_s=lambda: batch_wait_s,
        )
        self.source._consumer = self.consumer
        self.processed: list[Batch] = []

    async def run(self, batch: Batch, fails: Exception | None = None) -> None:
        async def process(batch: Batch) -> None:
            self.processed.append(batch)
            if fails is not None:
                raise fails

        await run_batch(self.app, self.source, batch, process, stage="classify", metrics=self.metrics)

    def feed(self, consumer: Any) -> asyncio.Task[None]:
        """Let the source's thread poll `consumer`, until the source is stopped."""
        return asyncio.create_task(asyncio.to_thread(self.source._feed, consumer, asyncio.get_running_loop()))

    def rewinds(self, cause: str) -> float:
        labels = {"stage": "classify", "cause": cause}
        return self.metrics.registry.get_sample_value("emostream_rewinds_total", labels) or 0


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(batches_module, "RETRY_PAUSE_S", 0)
    return Bench()


def batch(epoch: int = 1) -> Batch:
    return Batch(epoch, [message(b"{}", offset=4)], {0: 4})


async def test_a_source_is_behind_while_its_channel_is_full() -> None:
    source = Bench().source
    for _ in range(2):
        assert not source.behind
        await source.channel.put(batch())
    assert source.behind
    await source.channel.queue.get()
    assert not source.behind


async def test_a_delivered_batch_is_done(bench: Bench) -> None:
    wanted = batch()
    await bench.run(wanted)
    assert bench.consumer.calls == [("done", wanted)]
    assert bench.app.crashes == []


@pytest.mark.parametrize("epoch", [0, 2])
async def test_a_batch_of_another_epoch_is_skipped(bench: Bench, epoch: int) -> None:
    await bench.run(batch(epoch))
    assert bench.processed == []
    assert bench.consumer.calls == []


@pytest.mark.parametrize(
    ("error", "cause"),
    [(UnavailableError("Redis is away"), "unavailable"), (PositionMismatchError("elsewhere"), "position")],
)
async def test_a_batch_with_a_transient_error_is_fetched_again(bench: Bench, error: Exception, cause: str) -> None:
    await bench.run(batch(), error)
    assert bench.consumer.calls == [("rewind", str(error))]
    assert bench.rewinds(cause) == 1
    assert bench.app.crashes == []
    # The next batch was fetched before the rewind: it must not overtake this one.
    await bench.run(batch())
    assert len(bench.processed) == 1


@pytest.mark.parametrize(
    "error",
    [RejectedError("no"), PositionError("ahead"), ConnectorError("?"), ValueError("a defect"), RuntimeError("broken")],
)
async def test_any_other_error_stops_the_worker_before_the_next_batch(bench: Bench, error: Exception) -> None:
    with pytest.raises(type(error)):
        await bench.run(batch(), error)
    assert bench.app.crashes == [error]
    assert bench.consumer.calls == []
    await bench.run(batch())  # Faust restarts a failed agent, which goes on with what is on the channel
    assert len(bench.processed) == 1


async def test_a_cancelled_batch_is_neither_done_nor_a_crash(bench: Bench) -> None:
    async def process(_: Batch) -> None:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(
        run_batch(bench.app, bench.source, batch(), process, stage="classify", metrics=bench.metrics)
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.consumer.calls, bench.app.crashes) == ([], [])
    assert bench.source._idle.is_set()


# A pipelined stage prepares a batch while the one before is delivered.


class Steps:
    """The two parts of a pipelined stage. Some of their steps wait until `let` is called."""

    def __init__(self, bench: Bench) -> None:
        self.log: list[str] = []
        self.fails: dict[str, Exception] = {}
        self._held = {step: asyncio.Event() for step in ("prepare 2", "deliver 1", "deliver 2")}
        self.pipelined = PipelinedStage(
            bench.app, bench.source, self.prepare, self.deliver, stage="classify", metrics=bench.metrics
        )

    async def prepare(self, batch: Batch) -> int:
        number = batch.starts[0]
        await self._step(f"prepare {number}")
        return number

    async def deliver(self, number: int) -> None:
        await self._step(f"deliver {number}")

    def let(self, *steps: str) -> None:
        for step in steps:
            self._held[step].set()

    async def _step(self, name: str) -> None:
        self.log.append(f"{name} begins")
        if name in self._held:
            await self._held[name].wait()
        if name in self.fails:
            raise self.fails[name]
        self.log.append(f"{name} ends")

    async def reach(self, *lines: str) -> None:
        async with asyncio.timeout(60):
            while not {*lines} <= {*self.log}:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0)


def numbered(number: int, epoch: int = 1) -> Batch:
    return Batch(epoch, [message(b"{}", offset=number)], {0: number})


async def two_batches(bench: Bench) -> tuple[Steps, asyncio.Task[None]]:
    """Returns when batch 1 is being delivered and batch 2 is being prepared."""
    steps = Steps(bench)
    await steps.pipelined.run(numbered(1))
    second = asyncio.create_task(steps.pipelined.run(numbered(2)))
    await steps.reach("prepare 2 begins", "deliver 1 begins")
    return steps, second


def delivered(bench: Bench) -> list[int]:
    return [batch.starts[0] for call, batch in bench.consumer.calls if call == "done"]


async def test_a_batch_is_prepared_during_the_delivery_before_it_and_then_waits(bench: Bench) -> None:
    steps, second = await two_batches(bench)
    steps.let("prepare 2")
    await steps.reach("prepare 2 ends")
    await asyncio.sleep(0.01)
    assert "deliver 2 begins" not in steps.log
    steps.let("deliver 1")
    await second
    assert delivered(bench) == [1]
    steps.let("deliver 2")
    await steps.pipelined.drain()
    assert delivered(bench) == [1, 2]
    assert steps.log.index("deliver 1 ends") < steps.log.index("deliver 2 begins")
    assert bench.app.crashes == []


async def test_a_prepared_batch_is_dropped_when_the_batch_before_is_fetched_again(bench: Bench) -> None:
    steps, second = await two_batches(bench)
    steps.fails["deliver 1"] = UnavailableError("Kafka is away")
    steps.let("deliver 1", "prepare 2", "deliver 2")
    await second
    await steps.pipelined.drain()
    assert bench.consumer.calls == [("rewind", "Kafka is away")]
    assert "deliver 2 begins" not in steps.log
    # Both batches are fetched again in the next epoch.
    steps.fails.clear()
    for number in (1, 2):
        await steps.pipelined.run(numbered(number, epoch=2))
    await steps.pipelined.drain()
    assert delivered(bench) == [1, 2]


async def test_a_prepared_batch_is_dropped_when_the_batch_before_stops_the_worker(bench: Bench) -> None:
    steps, second = await two_batches(bench)
    steps.fails["deliver 1"] = RejectedError("no")
    steps.let("deliver 1", "prepare 2", "deliver 2")
    with pytest.raises(RejectedError):
        await second
    assert bench.app.crashes == [steps.fails["deliver 1"]]
    # Faust restarts the agent, which goes on with what is on the channel.
    await Steps(bench).pipelined.run(numbered(3))
    assert delivered(bench) == []


async def test_a_batch_that_cannot_be_prepared_stops_the_worker(bench: Bench) -> None:
    steps, second = await two_batches(bench)
    steps.fails["prepare 2"] = RuntimeError("the model is broken")
    steps.let("prepare 2")
    with pytest.raises(RuntimeError, match="broken"):
        await second
    assert bench.app.crashes == [steps.fails["prepare 2"]]
    steps.let("deliver 1")
    await steps.pipelined.drain()
    assert delivered(bench) == [1]
    await Steps(bench).pipelined.run(numbered(3))
    assert delivered(bench) == [1]


async def test_a_revocation_waits_for_a_delivery_and_not_for_a_preparation(bench: Bench) -> None:
    steps, second = await two_batches(bench)
    bench.consumer.epoch += 1
    revoking = in_thread(bench.source._await_idle)
    await asyncio.to_thread(revoking.join, 0.05)
    assert revoking.is_alive()
    steps.let("deliver 1")
    await asyncio.to_thread(revoking.join, 60)
    assert not revoking.is_alive()
    assert "prepare 2 ends" not in steps.log
    steps.let("prepare 2", "deliver 2")
    await second
    await steps.pipelined.drain()
    assert delivered(bench) == [1]
    assert "deliver 2 begins" not in steps.log


async def test_a_stale_batch_is_not_prepared(bench: Bench) -> None:
    steps = Steps(bench)
    await steps.pipelined.run(numbered(1, epoch=0))
    assert steps.log == []


async def test_a_cancelled_delivery_is_neither_done_nor_a_crash(bench: Bench) -> None:
    steps, second = await two_batches(bench)
    second.cancel()
    steps.pipelined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await steps.pipelined.drain()
    assert (bench.consumer.calls, bench.app.crashes) == ([], [])
    assert bench.source._idle.is_set()


# The source


def in_thread(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


async def test_a_revocation_waits_for_the_batch_in_flight(bench: Bench) -> None:
    with bench.source.in_flight(batch()) as current:
        assert current
        revoking = in_thread(bench.source._await_idle)
        revoking.join(0.05)
        assert revoking.is_alive()
    revoking.join(60)
    assert not revoking.is_alive()


async def test_a_revocation_does_not_outlast_the_session() -> None:
    bench = Bench(session_timeout_ms=50)
    began = time.monotonic()
    with bench.source.in_flight(batch()):
        revoking = in_thread(bench.source._await_idle)
        revoking.join(60)
        assert not revoking.is_alive()
    assert time.monotonic() - began >= 0.02  # it did wait
    assert KafkaConfig("h:1", session_timeout_ms=50).revoke_deadline_s < 0.05


async def test_a_revocation_does_not_wait_for_a_stale_batch(bench: Bench) -> None:
    with bench.source.in_flight(batch(0)) as current:
        assert not current
        bench.source._await_idle()


async def test_a_source_that_has_not_started_has_no_current_batch(bench: Bench) -> None:
    bench.source._consumer = None
    with bench.source.in_flight(batch()) as current:
        assert not current


async def test_a_channel_and_its_clones_have_one_queue(bench: Bench) -> None:
    channel = bench.source.channel
    batches = [batch(), batch()]
    for one in batches:
        await channel.put(one)
    # The channel is full, so that polling stops and memory does not grow.
    third = asyncio.ensure_future(channel.put(batch()))
    await asyncio.sleep(0.01)
    assert not third.done()
    # Faust clones a channel for every agent that reads it.
    clone = channel.clone()
    assert [await clone.queue.get(), await channel.queue.get()] == batches
    await third


async def test_a_rebalance_of_fausts_own_consumer_keeps_the_batches(bench: Bench) -> None:
    channel = bench.source.channel
    waiting = batch()
    await channel.put(waiting)
    bench.source.app.flow_control.suspend()
    bench.source.app.flow_control.clear()
    async with asyncio.timeout(60):
        assert await channel.queue.get() is waiting


class RestlessConsumer(FakeConsumer):
    """Each poll returns a batch of a new epoch, as if members joined and left all the time."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.made: list[weakref.ref[Any]] = []
        self.alive = 0
        self.enough = threading.Event()
        self._polls = polls

    def poll(self, most: int, timeout_s: float) -> Batch:
        self.epoch += 1
        found = batch(self.epoch)
        self.made.append(weakref.ref(found.messages[0]))
        if len(self.made) == self._polls:
            gc.collect()
            self.alive = sum(one() is not None for one in self.made)
            self.enough.set()
        return found

    def pause(self) -> None:
        """Does nothing: the poll with the new assignment has already returned a batch."""

    def resume(self) -> None:
        """Does nothing."""


async def test_stale_batches_are_not_kept_in_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "PAUSE_AFTER_S", 0)
    consumer = RestlessConsumer(polls=200)
    # No agent reads the channel: it holds two batches, and a third waits for room.
    feeding = bench.feed(consumer)
    assert await asyncio.to_thread(consumer.enough.wait, 60)
    bench.source._stopping.set()
    await feeding
    assert consumer.alive <= 5


class SteadyConsumer(FakeConsumer):
    """Each poll returns one message."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 0
        self.enough = threading.Event()

    def poll(self, most: int, timeout_s: float) -> Batch:
        time.sleep(0.002)
        self.polls += 1
        if self.polls == 50:
            self.enough.set()
        return batch()


async def test_a_stage_that_becomes_free_gets_all_messages_in_one_batch() -> None:
    bench = Bench(batch_max=1_000, batch_wait_s=0.02)
    source, consumer = bench.source, SteadyConsumer()
    with source.busy():
        feeding = bench.feed(consumer)
        assert await asyncio.to_thread(consumer.enough.wait, 60)
        assert source.channel.queue.empty()
    async with asyncio.timeout(60):
        found = await source.channel.queue.get()
    assert len(found) >= 49  # the fiftieth poll may not have returned yet
    source._stopping.set()
    await feeding


async def test_a_stage_that_failed_is_not_busy(bench: Bench) -> None:
    def fail() -> None:
        assert not bench.source._stage_waiting
        raise RejectedError("too large")

    with pytest.raises(RejectedError), bench.source.busy():
        fail()
    assert bench.source._stage_waiting
