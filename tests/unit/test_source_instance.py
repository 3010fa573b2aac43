"""How an instance goes on after failures of Kafka, and what it does when it loses its lease. No broker runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.errors import UnavailableError
from streams.ingest.sources import instance as instance_module
from streams.ingest.sources.config import SourceSpec
from streams.ingest.sources.instance import SourceInstance
from streams.ingest.sources.keywords import fixed_keywords
from streams.ingest.sources.metrics import IngestMetrics
from streams.ingest.sources.pump import StorageError
from tests.helpers import make_settings
from tests.source_world import Network


class Lease:
    """A lease that is held from the beginning, until the test takes it away."""

    def __init__(self, *_: object, on_held: Callable[[], None], on_lost: Callable[[], None], **__: object) -> None:
        self.take_away = on_lost
        on_held()
        Lease.last = self

    last: "Lease"

    def close(self) -> None:
        pass


class Pumping:
    """A pump that does what the test says."""

    begun = True

    def __init__(self, run: Callable[[], Any], *, has_saved: bool = False) -> None:
        self._run = run
        self.has_saved = has_saved

    async def run(self, *_: object) -> bool:
        found = self._run()
        return await found if asyncio.iscoroutine(found) else True


class Waits:
    """Notes what a source does with its backoff."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def wait_s(self, _: Exception) -> float:
        self.calls.append("wait")
        return 0.0

    def reset(self) -> None:
        self.calls.append("reset")


class Opener:
    """Makes sources, and keeps something open."""

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self) -> Network:
        return Network([])

    async def close(self) -> None:
        self.closed += 1


def instance(monkeypatch: pytest.MonkeyPatch, pumps: Sequence[Pumping], opener: Opener) -> SourceInstance:
    left = iter(pumps)

    @asynccontextmanager
    async def session(*_: object, **__: object) -> AsyncIterator[Pumping]:
        yield next(left)

    monkeypatch.setattr("streams.process.held_lease.GroupLease", Lease)
    monkeypatch.setattr(instance_module, "open_session", session)
    return SourceInstance(
        SourceSpec("mine", "bluesky"),
        make_settings(),
        IngestMetrics(),
        open_source=opener,
        selection=fixed_keywords(["tea"]),
    )


def kafka_fails() -> None:
    raise StorageError("Kafka did not answer") from UnavailableError("Kafka did not answer")


async def test_the_wait_after_a_failure_of_kafka_begins_anew_after_a_stored_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pumps = [Pumping(kafka_fails, has_saved=has_saved) for has_saved in (False, False, True, False)]
    mine = instance(monkeypatch, [*pumps, Pumping(lambda: None)], Opener())
    mine._backoff = waits = Waits()  # type: ignore[assignment]
    await mine.run(asyncio.Event())
    assert waits.calls == ["wait", "wait", "reset", "wait", "wait"]


async def test_a_process_that_loses_its_lease_closes_what_it_keeps_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opener, stop, running = Opener(), asyncio.Event(), asyncio.Event()

    async def go_on() -> bool:
        running.set()
        await asyncio.sleep(3_600)
        return False

    mine = instance(monkeypatch, [Pumping(go_on)], opener)
    run = asyncio.create_task(mine.run(stop))
    await running.wait()
    # The next process gets the lease when this returns.
    await asyncio.to_thread(Lease.last.take_away)
    assert opener.closed == 1
    stop.set()
    await run
