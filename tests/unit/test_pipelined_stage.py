"""A pipelined stage prepares a batch while the one before is delivered, and delivers it only if that succeeded."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.batch import Batch
from streams.pipeline.batches import PipelinedStage
from tests.batch_harness import Harness, harness_fixture, in_thread  # noqa: F401 - a fixture
from tests.helpers import message


class Steps:
    """The two parts of a pipelined stage. Some of their steps wait until `let` is called."""

    def __init__(self, harness: Harness) -> None:
        self.log: list[str] = []
        self.fails: dict[str, Exception] = {}
        self._held = {step: asyncio.Event() for step in ("prepare 2", "deliver 1", "deliver 2")}
        self.pipelined = PipelinedStage(
            harness.app, harness.source, self.prepare, self.deliver, stage="classify", metrics=harness.metrics
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


async def two_batches(harness: Harness) -> tuple[Steps, asyncio.Task[None]]:
    """Returns when batch 1 is being delivered and batch 2 is being prepared."""
    steps = Steps(harness)
    await steps.pipelined.run(numbered(1))
    second = asyncio.create_task(steps.pipelined.run(numbered(2)))
    await steps.reach("prepare 2 begins", "deliver 1 begins")
    return steps, second


def delivered(harness: Harness) -> list[int]:
    return [batch.starts[0] for call, batch in harness.consumer.calls if call == "done"]


async def test_a_batch_is_prepared_during_the_delivery_before_it_and_then_waits(harness: Harness) -> None:
    steps, second = await two_batches(harness)
    steps.let("prepare 2")
    await steps.reach("prepare 2 ends")
    await asyncio.sleep(0.01)
    assert "deliver 2 begins" not in steps.log
    steps.let("deliver 1")
    await second
    assert delivered(harness) == [1]
    steps.let("deliver 2")
    await steps.pipelined.drain()
    assert delivered(harness) == [1, 2]
    assert steps.log.index("deliver 1 ends") < steps.log.index("deliver 2 begins")
    assert harness.app.crashes == []


async def test_a_prepared_batch_is_dropped_when_the_batch_before_is_fetched_again(harness: Harness) -> None:
    steps, second = await two_batches(harness)
    steps.fails["deliver 1"] = UnavailableError("Kafka is away")
    steps.let("deliver 1", "prepare 2", "deliver 2")
    await second
    await steps.pipelined.drain()
    assert harness.consumer.calls == [("rewind", "Kafka is away")]
    assert "deliver 2 begins" not in steps.log
    # Both batches are fetched again in the next epoch.
    steps.fails.clear()
    for number in (1, 2):
        await steps.pipelined.run(numbered(number, epoch=2))
    await steps.pipelined.drain()
    assert delivered(harness) == [1, 2]


async def test_a_prepared_batch_is_dropped_when_the_batch_before_stops_the_worker(harness: Harness) -> None:
    steps, second = await two_batches(harness)
    steps.fails["deliver 1"] = RejectedError("no")
    steps.let("deliver 1", "prepare 2", "deliver 2")
    with pytest.raises(RejectedError):
        await second
    assert harness.app.crashes == [steps.fails["deliver 1"]]
    # Faust restarts the agent, which goes on with what is on the channel.
    await Steps(harness).pipelined.run(numbered(3))
    assert delivered(harness) == []


async def test_a_batch_that_cannot_be_prepared_stops_the_worker(harness: Harness) -> None:
    steps, second = await two_batches(harness)
    steps.fails["prepare 2"] = RuntimeError("the model is broken")
    steps.let("prepare 2")
    with pytest.raises(RuntimeError, match="broken"):
        await second
    assert harness.app.crashes == [steps.fails["prepare 2"]]
    steps.let("deliver 1")
    await steps.pipelined.drain()
    assert delivered(harness) == [1]
    await Steps(harness).pipelined.run(numbered(3))
    assert delivered(harness) == [1]


async def test_a_revocation_waits_for_a_delivery_and_not_for_a_preparation(harness: Harness) -> None:
    steps, second = await two_batches(harness)
    harness.consumer.epoch += 1
    revoking = in_thread(harness.source._await_idle)
    await asyncio.to_thread(revoking.join, 0.05)
    assert revoking.is_alive()
    steps.let("deliver 1")
    await asyncio.to_thread(revoking.join, 60)
    assert not revoking.is_alive()
    assert "prepare 2 ends" not in steps.log
    steps.let("prepare 2", "deliver 2")
    await second
    await steps.pipelined.drain()
    assert delivered(harness) == [1]
    assert "deliver 2 begins" not in steps.log


async def test_a_stale_batch_is_not_prepared(harness: Harness) -> None:
    steps = Steps(harness)
    await steps.pipelined.run(numbered(1, epoch=0))
    assert steps.log == []


async def test_a_cancelled_delivery_is_neither_done_nor_a_crash(harness: Harness) -> None:
    steps, second = await two_batches(harness)
    second.cancel()
    steps.pipelined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await steps.pipelined.drain()
    assert (harness.consumer.calls, harness.app.crashes) == ([], [])
    assert harness.source._idle.is_set()
