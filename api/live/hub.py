"""Joins the feeds of a process with its clients: it reads Kafka only while there are clients, or were moments ago."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Protocol

from api.live.ring import Event, EventRing
from api.problems import ProblemError

logger = logging.getLogger(__name__)

LINGER_S = 60.0
"""Seconds that Kafka is still read after the last client has gone. A client that reconnects then misses nothing."""

MOST_EVENTS = 20_000
MOST_BYTES = 24 * 1024 * 1024
"""The most events of a ring, and the most bytes of their content."""


class Feed(Protocol):
    """Reads a topic in a thread of its own."""

    def start(self, publish: Callable[[Sequence[Event]], None], lose: Callable[[], None]) -> None:
        """Begin with new records. Both functions may be called from any thread."""
        ...

    def stop(self) -> None:
        """Stop to read; returns at once."""
        ...


class LiveHub:
    """The ring of a process, its feeds and its clients. Everything but the feeds runs in one event loop."""

    def __init__(self, feeds: Sequence[Feed], *, most_clients: int, linger_s: float = LINGER_S) -> None:
        """Create a hub without clients.

        Args:
            feeds: what fills the ring.
            most_clients: the most clients at a time.
            linger_s: seconds that the feeds run on without clients.
        """
        self.ring = EventRing(most_events=MOST_EVENTS, most_bytes=MOST_BYTES)
        self.clients = 0
        self._feeds = feeds
        self._most_clients = most_clients
        self._linger_s = linger_s
        self._change = asyncio.Event()
        self._running = False
        self._stopping: asyncio.TimerHandle | None = None

    @contextmanager
    def client(self) -> Iterator[None]:
        """Count a client while it is connected.

        Raises:
            ProblemError: There are too many clients already.
        """
        if self.clients >= self._most_clients:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"this process has {self.clients} live streams, and takes no more (EMOSTREAM_API_MAX_STREAMS)",
                kind="overloaded",
                retry_after_s=5.0,
            )
        self.clients += 1
        self._start()
        try:
            yield
        finally:
            self.clients -= 1
            if not self.clients:
                self._stopping = asyncio.get_running_loop().call_later(self._linger_s, self.close)

    async def changed(self, cursor: int) -> None:
        """Returns when there are events after a cursor."""
        while self.ring.last_id <= cursor:
            await self._change.wait()

    def close(self) -> None:
        """Stop the feeds. What they have brought stays in the ring, but later events will be missing."""
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None
        if self._running:
            self._running = False
            for feed in self._feeds:
                feed.stop()

    def _start(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None
        if self._running:
            return
        self._running = True
        if self.ring.last_id:
            self._lose()  # nothing was read meanwhile
        loop = asyncio.get_running_loop()

        def in_loop(function: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop has been closed: the process ends
                loop.call_soon_threadsafe(function)

        for feed in self._feeds:
            feed.start(lambda events: in_loop(lambda: self._put(events)), lambda: in_loop(self._lose))

    def _put(self, events: Sequence[Event]) -> None:
        self.ring.put(events)
        self._wake()

    def _lose(self) -> None:
        self.ring.lose()
        self._wake()

    def _wake(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()
