"""What several requests need is read once for all of them, and not waited for while the server is away."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import ConnectorError, UnavailableError
from streams.access.refresher import Refresher


class Server:
    """Something that is read, when `answer` is set; `problem` makes it fail."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0
        self.problem: Exception | None = None
        self.failures: list[ConnectorError] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.refresher = Refresher(
            self.read, failed=self.failures.append, pause_s=5.0, clock=lambda: self.now, wait_s=0.05
        )

    async def read(self) -> None:
        self.reads += 1
        await self.answer.wait()
        if self.problem is not None:
            raise self.problem


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_requests_share_a_reading_and_its_age_counts_from_its_begin(server: Server) -> None:
    assert server.refresher.age_s == float("inf")
    server.answer.clear()
    asked = [asyncio.create_task(server.refresher.attempt()) for _ in range(10)]
    await asyncio.sleep(0)
    server.now += 0.01
    server.answer.set()
    await asyncio.gather(*asked)
    assert server.reads == 1
    assert server.refresher.age_s == pytest.approx(0.01)


async def test_a_server_that_takes_long_is_waited_for_once(server: Server) -> None:
    server.answer.clear()
    await server.refresher.attempt()  # ends although nothing was read
    assert server.refresher.in_progress
    for _ in range(100):
        await server.refresher.attempt()
    assert server.reads == 1
    server.answer.set()
    await server.refresher.first()
    assert server.refresher.age_s == 0
    server.now += 1
    await server.refresher.attempt()
    assert server.refresher.age_s == 0  # waited for again


async def test_after_a_failure_there_is_a_pause_and_then_nobody_waits(server: Server) -> None:
    server.problem = UnavailableError("away")
    await server.refresher.attempt()
    assert server.refresher.problem is server.problem
    assert server.failures == [server.problem]
    await server.refresher.attempt()
    assert server.reads == 1
    server.now += 5
    server.answer.clear()
    await server.refresher.attempt()  # does not wait
    server.problem = None
    server.answer.set()
    await server.refresher.first()
    assert server.reads == 2
    assert server.refresher.problem is None


async def test_a_defect_is_raised(server: Server) -> None:
    server.problem = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await server.refresher.attempt()


async def test_closing_ends_a_reading(server: Server) -> None:
    server.answer.clear()
    server.refresher.start()
    await asyncio.sleep(0)
    await server.refresher.close()
    assert not server.refresher.in_progress
