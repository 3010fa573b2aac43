"""The thread that polls a channel: its intervals, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from models.serving import watch as watch_module
from models.serving.metrics import ServedMetrics
from models.serving.served import ServedModel
from streams.connections import model_source
from streams.metrics import Metrics
from streams.pipeline.model_watch import ModelWatch
from tests.helpers import make_settings


class FakeModel:
    """A served model whose polls do what the test says, given their number, which begins at 1."""

    def __init__(self, poll: Callable[[int], bool]) -> None:
        self._poll = poll
        self.polls = 0
        self.cancelled = threading.Event()

    def poll(self) -> bool:
        self.polls += 1
        return self._poll(self.polls)

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
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it comes true in another thread
            await asyncio.sleep(0.005)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the watch means to wait before each poll; none of them passes."""
    found: list[float] = []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            found.append(timeout)
            return super().wait(0.001)

    monkeypatch.setattr(watch_module, "threading", SimpleNamespace(Event=Impatient, Thread=threading.Thread))
    return found


def is_watching() -> bool:
    return any(thread.name == "model-watch" for thread in threading.enumerate())


async def test_it_polls_at_the_pace_that_was_set_until_it_is_stopped(pauses: list[float]) -> None:
    model = FakeModel(lambda _: True)
    service, _ = watch(model, poll_s=20)
    await service.start()
    await until(lambda: model.polls >= 4)
    assert is_watching()
    await service.stop()
    assert not is_watching()
    assert set(pauses) == {20}


async def test_it_waits_before_a_poll() -> None:
    model = FakeModel(lambda _: True)
    service, _ = watch(model, poll_s=600)
    await service.start()
    await service.stop()
    assert model.polls == 0
    assert not is_watching()


async def test_polls_that_fail_come_at_longer_and_longer_intervals(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """Doubled up to the limit, and back at the pace after one that succeeds (the fifth)."""
    monkeypatch.setattr(watch_module, "MAX_BACKOFF_S", 30)
    model = FakeModel(lambda number: number == 5)
    service, _ = watch(model, poll_s=10)
    await service.start()
    await until(lambda: model.polls >= 6)
    await service.stop()
    assert pauses[:7] == [10, 20, 30, 30, 30, 10, 20]


async def crash_after(defect: BaseException) -> BaseException:
    """Returns the exception with which the app crashes if a poll raises `defect`."""

    def poll(_: int) -> bool:
        raise defect

    service, app = watch(FakeModel(poll), poll_s=0.01)
    await service.start()
    async with asyncio.timeout(60):
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
    model = FakeModel(lambda _: released.wait())
    service, _ = watch(model, poll_s=0.01)
    await service.start()
    await until(lambda: model.polls == 1)
    await service.stop()
    assert is_watching(), "the poll still hangs"
    assert model.cancelled.is_set(), "a download in progress is told"
    released.set()
    await until(lambda: not is_watching())


def test_no_model_is_served_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="no model has been loaded"):
        ServedModel(model_source(make_settings(model_uri="somewhere")), ServedMetrics(Metrics().model)).current()


async def test_a_panic_in_a_library_stops_the_app_too() -> None:
    """A panic of a Rust library is not an Exception, and the thread must not end unnoticed."""

    class PanicException(BaseException):
        pass

    panic = PanicException("index out of bounds")

    assert await crash_after(panic) is panic
