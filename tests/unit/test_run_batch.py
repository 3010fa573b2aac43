"""A batch is delivered, or fetched again, or it stops the app."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import ConnectorError, PositionError, PositionMismatchError, RejectedError, UnavailableError
from connectors.kafka.batch import Batch
from streams.pipeline.batches import run_batch
from tests.batch_harness import Harness, batch, harness_fixture  # noqa: F401 - a fixture


async def test_a_delivered_batch_is_done(harness: Harness) -> None:
    wanted = batch()
    await harness.run(wanted)
    assert harness.consumer.calls == [("done", wanted)]
    assert harness.app.crashes == []


@pytest.mark.parametrize("epoch", [0, 2])
async def test_a_batch_of_another_epoch_is_skipped(harness: Harness, epoch: int) -> None:
    await harness.run(batch(epoch))
    assert harness.processed == []
    assert harness.consumer.calls == []


@pytest.mark.parametrize(
    ("error", "cause"),
    [(UnavailableError("Redis is away"), "unavailable"), (PositionMismatchError("elsewhere"), "position")],
)
async def test_a_batch_with_a_transient_error_is_fetched_again(harness: Harness, error: Exception, cause: str) -> None:
    await harness.run(batch(), error)
    assert harness.consumer.calls == [("rewind", str(error))]
    assert harness.rewinds(cause) == 1
    assert harness.app.crashes == []
    # The next batch was fetched before the rewind: it must not overtake this one.
    await harness.run(batch())
    assert len(harness.processed) == 1


@pytest.mark.parametrize(
    "error",
    [RejectedError("no"), PositionError("ahead"), ConnectorError("?"), ValueError("a defect"), RuntimeError("broken")],
)
async def test_any_other_error_stops_the_worker_before_the_next_batch(harness: Harness, error: Exception) -> None:
    with pytest.raises(type(error)):
        await harness.run(batch(), error)
    assert harness.app.crashes == [error]
    assert harness.consumer.calls == []
    await harness.run(batch())  # Faust restarts a failed agent, which goes on with what is on the channel
    assert len(harness.processed) == 1


async def test_a_cancelled_batch_is_neither_done_nor_a_crash(harness: Harness) -> None:
    async def process(_: Batch) -> None:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(
        run_batch(harness.app, harness.source, batch(), process, stage="classify", metrics=harness.metrics)
    )
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (harness.consumer.calls, harness.app.crashes) == ([], [])
    assert harness.source._idle.is_set()
