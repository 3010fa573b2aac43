"""The end of a micro-batcher: everybody who waits gets an answer or an error, and the threads end."""

from __future__ import annotations

import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry

from models.errors import ServingStoppedError
from models.serving import micro_batcher
from models.serving.metrics import BatchMetrics
from models.serving.micro_batcher import MicroBatcher
from tests.batcher_support import DEADLINE_S, HeldModel, ask, batcher


async def test_close_answers_those_who_wait_and_refuses_others() -> None:
    registry = CollectorRegistry()
    model = HeldModel()
    async with batcher(model, registry, run_texts=1) as to:
        waiting = [await ask(to, "a"), await ask(to, "b", "c")]
        await model.begun()
        closing = asyncio.create_task(to.close(DEADLINE_S))
        await asyncio.sleep(0)
        with pytest.raises(ServingStoppedError, match="accepts no more texts"):
            await to.classify(["d"], [None])
        assert not closing.done()
        model.open.set()
        await closing
        assert await asyncio.gather(*waiting) == [["a/None"], ["b/None", "c/None"]]
    assert registry.get_sample_value("emostream_inference_refused_total", {"reason": "stopping"}) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("inference-")]


async def test_after_the_deadline_everybody_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batcher, "JOIN_S", 0.0)
    model = HeldModel()
    async with batcher(model, run_texts=1) as to:
        waiting = [await ask(to, "a"), await ask(to, "b")]
        await model.begun()
        await to.close(0.0)
        for task in waiting:
            with pytest.raises(ServingStoppedError, match="before the texts were classified"):
                await task
        model.open.set()
        monkeypatch.undo()
        await to.close(DEADLINE_S)
    assert model.runs == [["a"]]


async def test_a_cancelled_close_leaves_nobody_waiting() -> None:
    model = HeldModel()
    async with batcher(model) as to:
        waiting = await ask(to, "a")
        await model.begun()
        closing = await ask_to_close(to)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(ServingStoppedError):
            await waiting


async def ask_to_close(to: MicroBatcher[str]) -> asyncio.Task[None]:
    task = asyncio.create_task(to.close(DEADLINE_S))
    await asyncio.sleep(0)
    return task


async def test_a_batcher_that_never_started_can_be_closed() -> None:
    await MicroBatcher(HeldModel(), BatchMetrics(CollectorRegistry())).close(DEADLINE_S)
