"""A batch is delivered, or fetched again, or it stops the app."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import ConnectorError, PositionError, PositionMismatchError, RejectedError, UnavailableError
from connectors.kafka.batch import Batch
from streams.pipeline.batches import run_batch
from tests.batch_bench import Bench, batch, bench_fixture  # noqa: F401 - a fixture


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
