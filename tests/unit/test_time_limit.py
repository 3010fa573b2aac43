"""A time limit that does not count the time in which the event loop was blocked."""

from __future__ import annotations

import asyncio
import time

import pytest

from streams.query.time_limit import MOST_EXTENSIONS, time_limit


async def test_it_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError):
        async with time_limit(0.02):
            await asyncio.Event().wait()


async def test_what_ends_in_time_is_left_alone() -> None:
    async with time_limit(60):
        await asyncio.sleep(0)


async def test_a_result_that_came_while_the_loop_was_blocked_is_in_time() -> None:
    loop = asyncio.get_running_loop()
    reply = loop.create_future()
    loop.call_later(0.1, reply.set_result, "reply")  # both timers are over when the loop goes on
    async with time_limit(0.05):
        loop.call_soon(time.sleep, 0.3)
        assert await reply == "reply"


async def test_a_loop_that_is_always_late_does_not_extend_it_for_ever() -> None:
    loop = asyncio.get_running_loop()
    blocked = 0
    handle: asyncio.Handle

    def block() -> None:
        nonlocal blocked, handle
        blocked += 1
        time.sleep(0.03)
        handle = loop.call_soon(block)

    handle = loop.call_soon(block)
    with pytest.raises(TimeoutError):
        async with time_limit(0.02):
            await asyncio.Event().wait()
    handle.cancel()
    assert blocked >= MOST_EXTENSIONS


async def test_a_cancellation_is_not_taken_for_the_end_of_the_time() -> None:
    async def wait() -> None:
        async with time_limit(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
