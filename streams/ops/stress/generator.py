"""Sends the requests of one process at their planned times.

A request that is due is sent on a free connection. If there is none, it opens a further one, up to the limit; beyond
the limit it waits. The waiting counts, because a latency counts from the planned time. How late the generator itself
comes to a request is recorded apart, as lag: timers wake up to 1 ms late, and a process without CPU time much later.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.ops.stress.connection import Connection
from streams.ops.stress.schedule import Schedule
from streams.ops.stress.tally import OK_BELOW, OK_FROM, Tally
from streams.ops.stress.workload import Target

_BURST = 64
"""Requests that are sent one after another before answers are read again."""

_SWEEP_S = 0.05
_PROGRESS_S = 1.0


@dataclass(frozen=True)
class Job:
    """What one process sends.

    Attributes:
        target: the service.
        schedule: when the requests leave.
        requests: the different requests.
        order: which of them are sent; a longer load begins again.
        connections: the most connections.
        timeout_s: seconds after sending in which an answer must come.
    """

    target: Target
    schedule: Schedule
    requests: Sequence[bytes]
    order: Sequence[int]
    connections: int
    timeout_s: float


class Progress(NamedTuple):
    """The state of a running load in one process.

    Attributes:
        at: seconds since the start.
        ok: counted answers with 2xx so far.
        failed: counted requests that failed so far.
        open: requests that wait or are in flight.
    """

    at: float
    ok: int
    failed: int
    open: int


class _Due(NamedTuple):
    planned: float
    request: bytes


class Generator:
    """Sends the requests of a job. It is used once."""

    def __init__(self, job: Job, on_progress: Callable[[Progress], None]) -> None:
        self._job = job
        self._on_progress = on_progress
        self._tally = Tally()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._waiting: deque[_Due] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._next = 0
        self._count = job.schedule.count
        self._start = self._counted_from = 0.0
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tls = ssl.create_default_context() if job.target.is_tls else None

    async def connect(self) -> None:
        """Open the connections, so that the load does not begin with connecting.

        Raises:
            OSError: The service does not accept a connection.
        """
        for _ in range(self._job.connections):
            self._idle.append(await self._open())

    async def run(self, start: float) -> Tally:
        """Returns what was counted, when the last request has an outcome.

        Args:
            start: the time of `time.monotonic` at which the load begins.
        """
        self._start = start
        self._counted_from = start + self._job.schedule.warm_up_s
        self._send_due()
        self._sweep()
        self._report()
        await self._ended.wait()
        for connection in [*self._idle, *self._busy]:
            connection.give_up("load ended")
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        return self._tally

    def stop(self) -> None:
        """End the load now. Requests without an outcome are counted as unfinished."""
        self._count = self._next
        planned = [due.planned for due in self._waiting] + [connection.planned for connection in self._busy]
        self._tally.unfinished = sum(at >= self._counted_from for at in planned)
        self._ended.set()

    def _send_due(self) -> None:
        schedule, order, requests, tally = self._job.schedule, self._job.order, self._job.requests, self._tally
        burst = 0
        while self._next < self._count and not self._ended.is_set():
            planned, now = self._start + schedule.at(self._next), time.monotonic()
            if planned > now:
                self._loop.call_later(planned - now, self._send_due)
                return
            if burst == _BURST:
                self._loop.call_soon(self._send_due)
                return
            burst += 1
            due = _Due(planned, requests[order[self._next % len(order)]])
            self._next += 1
            if planned >= self._counted_from:
                tally.offered += 1
                tally.lag.record(now - planned)
            if self._idle:
                self._send(self._idle.pop(), due)
            else:
                tally.waited += planned >= self._counted_from
                self._waiting.append(due)
                self._open_more()
        self._end_if_done()

    def _send(self, connection: Connection, due: _Due) -> None:
        self._busy.add(connection)
        self._tally.sent += due.planned >= self._counted_from
        connection.send(due.request, due.planned, time.monotonic())

    def _open_more(self) -> None:
        """Open a connection for a request that waits, unless there are enough."""
        used = len(self._idle) + len(self._busy) + len(self._opening)
        if used < self._job.connections and len(self._opening) < len(self._waiting):
            task = self._loop.create_task(self._open_for_waiting())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open_for_waiting(self) -> None:
        try:
            connection = await self._open()
        except (OSError, TimeoutError) as exc:
            # The request that waits longest fails, as it would without a pool.
            if self._waiting:
                self._fail(self._waiting.popleft().planned, None, connect_error(exc))
        else:
            self._free(connection)
        if self._waiting:
            self._loop.call_soon(self._open_more)
        self._end_if_done()

    async def _open(self) -> Connection:
        target = self._job.target
        async with asyncio.timeout(self._job.timeout_s):
            _, connection = await self._loop.create_connection(
                lambda: Connection(self), target.host, target.port, ssl=self._tls
            )
        return connection

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    # What a connection tells.

    def on_answer(self, connection: Connection, status: int, *, from_cache: bool) -> None:
        """Count an answer, and use the connection for the next request that waits."""
        now = time.monotonic()
        tally, counted_from = self._tally, self._counted_from
        self._busy.discard(connection)
        if connection.planned >= counted_from and not self._ended.is_set():
            if OK_FROM <= status < OK_BELOW:
                tally.ok += 1
                tally.from_cache += from_cache
                tally.from_plan.record(now - connection.planned)
                tally.from_send.record(now - connection.sent)
                tally.answered_at[int(now - counted_from)] += 1
            else:
                tally.statuses[status] += 1
                tally.failed_at[int(now - counted_from)] += 1
        if not connection.is_closing:
            self._free(connection)
        elif self._waiting:
            self._open_more()
        self._end_if_done()

    def on_lost(self, connection: Connection, error: str) -> None:
        """Count a request that gets no answer any more."""
        if connection in self._idle:
            self._idle.remove(connection)
        if connection in self._busy:
            self._busy.discard(connection)
            self._fail(connection.planned, connection.sent, error)
        if self._waiting:
            self._open_more()
        self._end_if_done()

    def _fail(self, planned: float, sent: float | None, error: str) -> None:
        if planned < self._counted_from or self._ended.is_set():
            return
        now = time.monotonic()
        self._tally.errors[error] += 1
        self._tally.failed_at[int(now - self._counted_from)] += 1
        if error in GIVEN_UP:
            # Without these, the worst latencies would be left out.
            self._tally.from_plan.record(now - planned)
            if sent is not None:
                self._tally.from_send.record(now - sent)

    def _sweep(self) -> None:
        """Give up requests whose time is over."""
        if self._ended.is_set():
            return
        now, timeout_s = time.monotonic(), self._job.timeout_s
        for connection in [one for one in self._busy if now - one.sent > timeout_s and not one.is_closing]:
            connection.give_up(TIMEOUT)
        if now > self._start + self._job.schedule.end_s + timeout_s:
            while self._waiting:
                self._fail(self._waiting.popleft().planned, None, NOT_SENT)
        self._end_if_done()
        self._loop.call_later(_SWEEP_S, self._sweep)

    def _report(self) -> None:
        if self._ended.is_set():
            return
        open_ = len(self._waiting) + len(self._busy)
        at = time.monotonic() - self._start
        self._on_progress(Progress(at, self._tally.ok, self._tally.failed, open_))
        self._loop.call_later(_PROGRESS_S, self._report)

    def _end_if_done(self) -> None:
        if self._next >= self._count and not self._waiting and not self._busy:
            self._ended.set()


TIMEOUT = "timeout"
NOT_SENT = "no free connection"
GIVEN_UP = frozenset({TIMEOUT, NOT_SENT})
"""Errors of requests that were given up. Their time until then is a lower bound of their latency."""


def connect_error(exc: OSError | TimeoutError) -> str:
    """Returns the kind of an error of connecting."""
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if isinstance(exc, TimeoutError):
        return "timeout of connecting"
    return "cannot connect"
