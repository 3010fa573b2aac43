"""The load generator against servers of its own, which pause, refuse, close connections, or never answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from streams.ops.stress.generator import NOT_SENT, TIMEOUT, Generator, Job
from streams.ops.stress.latencies import Distribution
from streams.ops.stress.schedule import Schedule
from streams.ops.stress.tally import Tally
from streams.ops.stress.workload import Target

Answer = Callable[[int], Awaitable[bytes]]
"""Returns the bytes of the n-th answer."""

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def http(status: str = "200 OK", *, close: bool = False) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n{'Connection: close' if close else 'X: y'}\r\n\r\nok".encode()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Target]:
    """A server on a real socket. It closes a connection after an empty answer."""
    count = 0
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                count += 1
                data = await answer(count)
                if not data:
                    return
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Target.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def load(target: Target, schedule: Schedule, *, connections: int = 1, timeout_s: float = 10) -> Tally:
    generator = Generator(Job(target, schedule, [REQUEST], [0], connections, timeout_s), lambda _: None)
    await generator.connect()
    return await generator.run(time.monotonic())


async def test_a_pause_of_the_server_is_in_the_latencies_from_the_planned_time() -> None:
    """Coordinated omission: on one connection a pause of 1 s delays one request in a hundred after its sending."""

    async def answer(number: int) -> bytes:
        if number == 50:
            await asyncio.sleep(1)
        return http()

    async with serving(answer) as target:
        tally = await load(target, Schedule(rate=200, warm_up_s=0, duration_s=2))
    assert tally.offered == tally.sent == tally.ok == 400
    assert tally.failed == 0
    planned, sent = Distribution.of(tally.from_plan), Distribution.of(tally.from_send)
    # One request in 400 met the pause after it was sent: a closed-loop generator would report this p99.
    assert sent.count == 400
    assert 1 <= sum(count for us, count in tally.from_send.counts.items() if us > 900_000) < 5
    # Half of the requests were planned during the pause, evenly: their latencies go from 1 s down to 0.
    assert planned.p99 is not None
    assert planned.p99 > 900
    assert sum(count for us, count in tally.from_plan.counts.items() if us > 500_000) >= 90
    assert tally.waited >= 190


async def test_answers_are_counted_by_status_and_the_warm_up_is_not() -> None:
    async def answer(number: int) -> bytes:
        if number <= 100:
            return http("500 Internal Server Error")
        return http({0: "503 Service Unavailable", 1: "429 Too Many Requests"}.get(number % 10, "200 OK"))

    async with serving(answer) as target:
        tally = await load(target, Schedule(rate=1_000, warm_up_s=0.1, duration_s=0.1))
    assert tally.offered == tally.sent == 100
    assert (tally.ok, tally.statuses) == (80, {503: 10, 429: 10})
    assert (tally.refused, tally.failed) == (20, 20)
    assert sum(tally.from_plan.counts.values()) == 80, "a fast refusal must not flatter the latencies"
    assert sum(tally.answered_at.values()) == 80


async def test_connections_that_end_are_opened_again() -> None:
    async def answer(number: int) -> bytes:
        return b"" if number == 10 else b"nonsense\r\n" if number == 20 else http(close=number % 3 == 0)

    async with serving(answer) as target:
        tally = await load(target, Schedule(rate=500, warm_up_s=0, duration_s=0.2), connections=4)
    assert tally.ok == 98
    assert tally.errors == {"connection closed": 1, "malformed answer": 1}


async def test_requests_that_are_given_up_are_in_the_latencies() -> None:
    async def answer(_: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with serving(answer) as target:
        tally = await load(target, Schedule(rate=100, warm_up_s=0, duration_s=0.1), connections=2, timeout_s=0.2)
    assert tally.errors[TIMEOUT] >= 2
    assert set(tally.errors) <= {TIMEOUT, NOT_SENT}
    assert tally.failed == tally.offered == 10
    assert sum(tally.from_plan.counts.values()) == 10
    assert min(tally.from_plan.counts) > 150_000


async def test_a_server_that_goes_away_fails_requests_and_does_not_stop_the_load() -> None:
    closing = asyncio.Event()

    async def answer(number: int) -> bytes:
        if number >= 20:
            closing.set()
            return b""
        return http()

    async with serving(answer) as target:
        generator = Generator(Job(target, Schedule(200, 0, 0.5), [REQUEST], [0], 2, 5), lambda _: None)
        await generator.connect()
        running = asyncio.create_task(generator.run(time.monotonic()))
        await closing.wait()
    tally = await running
    assert tally.ok == 19
    assert tally.offered == 100
    assert tally.failed == 81
    assert set(tally.errors) <= {"connection closed", "connection reset", "connection refused"}
    assert tally.errors["connection refused"] > 0


async def test_a_load_that_is_stopped_has_what_was_counted() -> None:
    reached = asyncio.Event()

    async def answer(number: int) -> bytes:
        if number > 10:
            reached.set()
            await asyncio.Event().wait()
        return http()

    async with serving(answer) as target:
        generator = Generator(Job(target, Schedule(100, 0, 60), [REQUEST], [0], 1, 10), lambda _: None)
        await generator.connect()
        running = asyncio.create_task(generator.run(time.monotonic()))
        await reached.wait()
        generator.stop()
        tally = await running
    assert tally.ok == 10
    assert tally.unfinished >= 1
    assert tally.offered == tally.ok + tally.unfinished


async def test_nobody_listens() -> None:
    generator = Generator(Job(Target.of("http://127.0.0.1:9"), Schedule(1, 0, 1), [REQUEST], [0], 1, 1), lambda _: None)
    with pytest.raises(OSError, match=r"(?i)refused|connect"):
        await generator.connect()
