"""Makes identical questions that come at the same time one computation, within a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from streams.errors import USER_ERRORS, ShuttingDownError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Flight(Generic[T]):
    """One computation that is under way."""

    task: asyncio.Task[T]

    def __init__(self) -> None:
        self.callers = 0

    @property
    def is_wanted(self) -> bool:
        """Whether a caller still waits for the result."""
        return self.callers > 0


Job = Callable[[Flight[T]], Awaitable[T]]


class SingleFlight(Generic[T]):
    """Runs jobs by key, at most one of each key at a time. All callers of a key share the result or the exception.

    A caller that is cancelled does not cancel the job, not even the last one: what it computes is worth keeping, and a
    client that gives up early and asks again would never see it otherwise. So a job ends by itself after a limited
    time, and one that only waits ends once it is not wanted.

    Nothing is kept after the end of a job; the next caller of the key starts a new one.

    Args:
        on_joined: Called when a caller joins a job that is under way.
    """

    def __init__(self, *, on_joined: Callable[[], None] = lambda: None) -> None:
        self._on_joined = on_joined
        self._flights: dict[str, Flight[T]] = {}
        self._closed = False

    def __len__(self) -> int:
        """Returns the number of jobs that are under way."""
        return len(self._flights)

    async def run(self, key: str, job: Job[T]) -> T:
        """Returns the result of the job of this key that is under way, or else of `job`.

        Raises:
            ShuttingDownError: `close` ended the job, or was called before.
            Exception: What the job raises.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._begin(key, job)
        else:
            self._on_joined()
        flight.callers += 1
        try:
            await asyncio.wait([flight.task])  # unlike the task itself, this can be cancelled alone
        finally:
            flight.callers -= 1
        if flight.task.cancelled():
            raise ShuttingDownError("the service is stopping")
        return flight.task.result()

    def start(self, key: str, job: Job[T]) -> None:
        """Begin a job that nobody waits for, unless one of this key is under way. A failure of it is logged.

        After `close` nothing begins.
        """
        if key not in self._flights and not self._closed:
            self._begin(key, job)

    async def close(self) -> None:
        """Cancel all jobs and wait until they have ended. Their callers get ShuttingDownError."""
        self._closed = True
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: str, job: Job[T]) -> Flight[T]:
        if self._closed:
            raise ShuttingDownError("the service is stopping")
        flight: Flight[T] = Flight()

        async def fly() -> T:
            return await job(flight)

        def ended(task: asyncio.Task[T]) -> None:
            if self._flights.get(key) is flight:  # else the key has a new one already
                del self._flights[key]
            # Callers still count as such here: they run after this.
            if not task.cancelled() and (error := task.exception()) is not None and not flight.is_wanted:
                _log(error)

        flight.task = asyncio.get_running_loop().create_task(fly())
        flight.task.add_done_callback(ended)
        self._flights[key] = flight
        return flight


def _log(error: BaseException) -> None:
    if isinstance(error, USER_ERRORS):
        logger.warning("an answer was not computed: %s", error)
    else:
        logger.error("an answer was not computed because of a defect", exc_info=error)
