"""The thread that polls a channel: its intervals, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from models.serving import watch as watch_module
from models.serving.served import ServedModel
from streams.connections import model_source
from streams.metrics import Metrics
from streams.pipeline.model_watch import ModelWatch
from tests.helpers import make_settings


class FakeModel:
    """A served model whose polls do what the test says, and that records when they came."""

    def __init__(self, poll: Callable[[int], bool]) -> None:
        self._poll = poll
        self.polls: list[float] = []
        self.cancelled = threading.Event()

    def poll(self) -> bool:
        self.polls.append(time.monotonic())
        return self._poll(len(self.polls))

    def cancel(self) -> None:
        self.cancelled.set()


class FakeApp:
    def __init__(self) -> None:
        self.crashed: asyncio.Queue[BaseException] = asyncio.Queue()

    async def crash(self, reason: BaseException) -> None:
        await self.crashed.put(reason)


def watch(model: FakeModel, *, poll_s: float) -> tuple[ModelWatch, FakeApp]:
    app = FakeApp()
    return ModelWatch(cast(Any, app), model, poll_s), app


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another thread makes it true
            await asyncio.sleep(0.005)


def pauses(model: FakeModel) -> list[float]:
    return [after - before for before, after in zip(model.polls, model.polls[1:], strict=False)]


async def test_it_polls_at_the_given_interval() -> None:
    model = FakeModel(lambda _: True)
    service, _ = watch(model, poll_s=0.05)
    await service.start()
    await until(lambda: len(model.polls) >= 4)
    await service.stop()
    assert min(pauses(model)) >= 0.05
    count = len(model.polls)
    await asyncio.sleep(0.15)
    assert len(model.polls) == count, "the thread has stopped"


async def test_polls_that_fail_come_at_longer_and_longer_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval doubles up to the limit. After the fifth poll, which succeeds, it is the given one again."""
    monkeypatch.setattr(watch_module, "MAX_BACKOFF_S", 0.4)
    model = FakeModel(lambda number: number == 5)
    service, _ = watch(model, poll_s=0.05)
    await service.start()
    await until(lambda: len(model.polls) >= 6)
    await service.stop()
    least = [0.1, 0.2, 0.4, 0.4, 0.05]
    assert all(pause >= bound for pause, bound in zip(pauses(model), least, strict=False))
    assert pauses(model)[4] < 0.4


async def crash_after(defect: BaseException) -> BaseException:
    """Return the exception with which the app crashes if a poll raises `defect`."""

    def poll(_: int) -> bool:
        raise defect

    service, app = watch(FakeModel(poll), poll_s=0.01)
    await service.start()
    async with asyncio.timeout(10):
        reason: BaseException = await app.crashed.get()
    await service.stop()
    return reason


async def test_a_defect_stops_the_app() -> None:
    """Otherwise the worker would go on without polling, and no one would notice."""
    defect = ZeroDivisionError()

    assert await crash_after(defect) is defect


async def test_a_poll_that_hangs_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "JOIN_S", 0.1)
    released = threading.Event()
    model = FakeModel(lambda _: released.wait(20))
    service, _ = watch(model, poll_s=0.01)
    await service.start()
    await until(lambda: len(model.polls) == 1)
    begin = time.monotonic()
    await service.stop()
    assert time.monotonic() - begin < 5
    assert model.cancelled.is_set(), "a download in progress is cancelled"
    released.set()


def test_no_model_is_served_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="no model has been loaded"):
        ServedModel(model_source(make_settings(model_uri="somewhere")), Metrics().model).current()


async def test_a_panic_in_a_library_stops_the_app_too() -> None:
    """A panic of a Rust library is not an Exception, and the thread must not end unnoticed."""

    class PanicException(BaseException):
        pass

    panic = PanicException("index out of bounds")

    assert await crash_after(panic) is panic
