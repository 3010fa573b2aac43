"""A time limit for a reply that does not count the time in which this process itself was too busy to read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LATE_SHARE = 0.2
"""If the event loop notices the end of the limit later than by this share of it, it is the loop that was slow."""

MOST_EXTENSIONS = 4


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError if the body takes longer than some seconds.

    If the event loop was blocked when the limit ended, the reply may have come long ago. So the body has the same time
    again, up to `MOST_EXTENSIONS` times. Without that a process in overload would take its own delay for an outage of
    the cache, and would compute all answers on top of its load.

    Raises:
        TimeoutError: The time is over.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    async with asyncio.timeout(None) as scope:

        def end(due: float, extensions: int) -> None:
            nonlocal timer
            now = loop.time()
            if extensions and now - due > seconds * LATE_SHARE:
                timer = loop.call_at(now + seconds, end, now + seconds, extensions - 1)
            else:
                scope.reschedule(now)

        due = loop.time() + seconds
        timer = loop.call_at(due, end, due, MOST_EXTENSIONS)
        try:
            yield
        finally:
            timer.cancel()
