"""Kafka and Postgres are stopped under running processes, on servers of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.local import Endpoints, LocalStack
from streams.demo.processes import Role
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import balanced, failures, good_posts, offsets, produce, wait_for

Start = Callable[..., Role]


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[LocalStack]:
    """Servers of the test's own, to be stopped under its processes."""
    stack = LocalStack(tmp_path / "stack")
    stack.up()
    yield stack
    stack.down()


@pytest.fixture
def endpoints(own_stack: LocalStack) -> Endpoints:
    found = own_stack.endpoints()
    assert found is not None
    return found


async def test_kafka_and_postgres_restart(
    own_stack: LocalStack, settings: Settings, store: WindowStore, start: Start
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(200))
    assert failures(await balanced(settings, store, [worker, sink], seconds=60)) == []

    produce(settings, good_posts(1_500))
    await asyncio.to_thread(own_stack.stop, "postgres")
    await asyncio.to_thread(own_stack.stop, "kafka")
    await asyncio.sleep(3)
    worker.check()
    sink.check()
    await asyncio.to_thread(own_stack.start, "kafka")
    await asyncio.to_thread(own_stack.start, "postgres")

    assert failures(await balanced(settings, store, [worker, sink], seconds=90)) == []


async def test_stopping_while_kafka_is_away_is_clean(
    own_stack: LocalStack, settings: Settings, store: WindowStore, start: Start
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(2_000))
    wait_for(lambda: offsets(settings, settings.topic_classified) > 500, seconds=60, what="the worker is idle")
    await asyncio.to_thread(own_stack.stop, "kafka")

    codes = await asyncio.gather(asyncio.to_thread(worker.stop), asyncio.to_thread(sink.stop))

    logs = [await asyncio.to_thread(role.log.read_text) for role in (worker, sink)]
    assert codes == [0, 0], logs
    assert "Traceback" not in "".join(logs)
    await asyncio.to_thread(own_stack.start, "kafka")
    again = [start("worker"), start("sink")]
    assert failures(await balanced(settings, store, again, seconds=90)) == []
