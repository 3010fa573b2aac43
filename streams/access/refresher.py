"""Reads again what several requests need from a server, such as keys: one reading at a time, and not too often."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from connectors.errors import ConnectorError

WAIT_S = 1.0
"""Seconds that requests wait for a reading. It goes on after that."""

PAUSE_S = 5.0
"""Seconds after a failed reading without another one."""


class Refresher:
    """Calls `read` when somebody needs it, and remembers when it last succeeded and why it last failed."""

    def __init__(
        self,
        read: Callable[[], Awaitable[None]],
        *,
        failed: Callable[[ConnectorError], None],
        wait_s: float = WAIT_S,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the reading.

        Args:
            read: Reads and stores the result.
            failed: Called with each failure.
            wait_s: Seconds that a caller of `attempt` waits at most, counted from the begin of the reading.
            pause_s: Seconds after a failure without another reading.
            clock: Seconds of a clock that never goes back.
        """
        self._read = read
        self._failed = failed
        self._wait_s = wait_s
        self._pause_s = pause_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._begun_at = self._read_at = self._failed_at = -math.inf
        self._is_slow = False
        self.problem: ConnectorError | None = None
        """Why the last reading failed; None if it did not."""

    @property
    def age_s(self) -> float:
        """Seconds since the begin of the last reading that succeeded; infinite before the first."""
        return self._clock() - self._read_at

    @property
    def tried_s(self) -> float:
        """Seconds since the begin of the last reading, successful or not; infinite before the first."""
        return self._clock() - self._begun_at

    @property
    def in_progress(self) -> bool:
        """Whether a reading has begun and not ended."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin a reading, unless one is in progress or has just failed."""
        if not self.in_progress and self._clock() - self._failed_at >= self._pause_s:
            self._begun_at = self._clock()
            self._task = asyncio.create_task(self._run(self._begun_at))

    async def first(self) -> None:
        """Read, and wait for it as long as it takes. Raises nothing if it fails."""
        self.start()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def attempt(self) -> None:
        """Begin a reading as `start` does, and wait for it for a moment. Raises nothing if it fails or takes longer.

        If the last reading has failed, or takes longer than that already, nothing is waited for. So a server that is
        away does not slow the requests down.
        """
        in_doubt = self.problem is not None or self._is_slow
        self.start()
        if self._task is None or in_doubt:
            return
        if not self._task.done():
            await asyncio.wait([self._task], timeout=max(0.0, self._begun_at + self._wait_s - self._clock()))
            self._is_slow = not self._task.done()
        if self._task.done() and not self._task.cancelled():
            self._task.result()  # raises a defect of `read`

    async def close(self) -> None:
        """Cancel a reading in progress."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, begun_at: float) -> None:
        try:
            await self._read()
            self._is_slow = False
        except ConnectorError as exc:
            self.problem, self._failed_at = exc, self._clock()
            self._failed(exc)
        else:
            self.problem, self._failed_at, self._read_at = None, -math.inf, begun_at
