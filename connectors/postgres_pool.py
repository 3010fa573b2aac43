"""Connections to PostgreSQL that the tasks of an event loop share. Their time limits also hold for a paused server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import psycopg
from psycopg_pool import AsyncConnectionPool

from connectors.errors import UnavailableError
from connectors.postgres import postgres_errors, session_options

AsyncConnection = psycopg.AsyncConnection[tuple[object, ...]]

MAX_SIZE = 4
"""Connections that a pool opens at most."""

WAIT_S = 2.0
"""Seconds that a caller waits for a connection, which may have to be opened."""

TIMEOUT_S = 10.0
"""Seconds after which the server ends a statement."""

PAUSE_S = 1.0
"""Seconds after a failed attempt to connect in which callers get its error without a new attempt."""

_CANCEL_S = 1.0
"""Seconds in which a server that is late may confirm that it has cancelled a statement."""


class PostgresPool:
    """Connections that are opened when they are needed, at most `max_size`.

    `open` succeeds without a server. Each connection is tested before it is handed out, so callers do not notice that
    the server was restarted. Connections are in autocommit mode; `connection.transaction()` groups statements.
    """

    def __init__(
        self,
        dsn: str,
        *,
        application_name: str,
        max_size: int = MAX_SIZE,
        wait_s: float = WAIT_S,
        timeout_s: float = TIMEOUT_S,
        pause_s: float = PAUSE_S,
        read_only: bool = False,
        on_connect: Callable[[AsyncConnection], object] = lambda _: None,
    ) -> None:
        """Prepare the pool.

        Args:
            dsn: A `postgresql://` address.
            application_name: What `pg_stat_activity` shows.
            max_size: The most connections.
            wait_s: Seconds that a caller waits for a connection.
            timeout_s: Seconds after which the server ends a statement, and for which a caller may keep a connection.
            pause_s: Seconds after a failed attempt to connect in which callers get its error without a new attempt.
            read_only: Whether the server refuses to write.
            on_connect: Called with each new connection.
        """
        self._within_s = wait_s + timeout_s
        self._pause_s = pause_s
        self._taking: set[asyncio.Task[AsyncConnection]] = set()
        self._failure: psycopg.Error | None = None
        self._failed_at = 0.0
        self._pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
            dsn,
            connection_class=_reporting(self._attempted, on_connect),
            kwargs={
                **session_options(application_name, statement_timeout_ms=int(timeout_s * 1000), read_only=read_only),
                "autocommit": True,
            },
            min_size=0,
            max_size=max_size,
            open=False,
            check=AsyncConnectionPool.check_connection,
            name=application_name,
            timeout=wait_s,
            reconnect_timeout=0,  # the next caller tries again, and not a task that waits longer each time
        )

    async def open(self) -> None:
        """Let callers have connections. Does not connect, and does nothing if the pool is open."""
        await self._pool.open()

    async def close(self) -> None:
        """Close the connections. Those in use are closed when they are given back."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self, doing: str) -> AsyncIterator[AsyncConnection]:
        """Lend a connection, and translate psycopg's errors within.

        Args:
            doing: What is attempted, for the message.

        Raises:
            UnavailableError: The server does not answer in time, all connections are in use, or the pool is closed.
            RejectedError: The server rejected the login or the statement.
        """
        with postgres_errors(doing):
            try:
                # psycopg answers a first cancellation by asking the server to cancel the statement, and waits for that.
                # A server that is paused does not do it; a second cancellation makes psycopg close the connection.
                async with asyncio.timeout(self._within_s + _CANCEL_S), asyncio.timeout(self._within_s):
                    connection = await self._take()
                    try:
                        yield connection
                    finally:
                        await self._pool.putconn(connection)
            except TimeoutError as exc:
                message = f"PostgreSQL did not answer within {self._within_s:g} s while {doing}"
                raise UnavailableError(message) from exc

    async def _take(self) -> AsyncConnection:
        """Returns a connection of the pool, or raises the error of the last attempt to connect."""
        if self._failure is not None and time.monotonic() - self._failed_at < self._pause_s:
            raise self._failure.with_traceback(None)
        taking = asyncio.create_task(self._pool.getconn())
        self._taking.add(taking)
        try:
            return await taking
        except asyncio.CancelledError:
            if taking.done() and not taking.cancelled() and taking.exception() is None:
                await self._pool.putconn(taking.result())  # this task was cancelled before it took the connection
            task = asyncio.current_task()
            if self._failure is not None and task is not None and not task.cancelling():
                raise self._failure.with_traceback(None) from None
            raise
        finally:
            self._taking.discard(taking)

    def _attempted(self, failure: psycopg.Error | None) -> None:
        """Remember how an attempt to connect ended. A failure ends the waiting of all callers."""
        self._failure, self._failed_at = failure, time.monotonic()
        if failure is not None:
            for taking in self._taking:
                taking.cancel()


def _reporting(
    report: Callable[[psycopg.Error | None], None], on_connect: Callable[[AsyncConnection], object]
) -> type[AsyncConnection]:
    """Returns a class of connections that reports how each attempt to connect ended. The pool only logs it."""

    class _Connection(psycopg.AsyncConnection[tuple[object, ...]]):
        @classmethod
        async def connect(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 - as the base class has them
            try:
                connection = await super().connect(*args, **kwargs)
            except psycopg.Error as exc:
                report(exc)
                raise
            report(None)
            on_connect(connection)
            return connection

    return _Connection
