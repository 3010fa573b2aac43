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


class Receiver(Protocol):
    """Takes what a feed reads. Its methods may be called from any thread."""

    def publish(self, events: Sequence[Event]) -> None:
        """Take events."""
        ...

    def lose(self) -> None:
        """Take note that some were missed."""
        ...

    def skip(self, posts: int) -> None:
        """Take note that posts were left out on purpose."""
        ...


class Feed(Protocol):
    """Reads a topic in a thread of its own.

    Attributes:
        problem: why nothing is read now; None if it is, or if nobody wants it.
    """

    problem: str | None

    def start(self, into: Receiver) -> None:
        """Begin with new records."""
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

    @property
    def problem(self) -> str | None:
        """Why clients do not get news now; None if they do."""
        return next((feed.problem for feed in self._feeds if feed.problem is not None), None)

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
        for feed in self._feeds:
            feed.start(_IntoLoop(self, asyncio.get_running_loop()))

    def _put(self, events: Sequence[Event]) -> None:
        self.ring.put(events)
        self._wake()

    def _lose(self) -> None:
        self.ring.lose()
        self._wake()

    def _skip(self, posts: int) -> None:
        self.ring.skip(posts)
        self._wake()

    def _wake(self) -> None:
        change, self._change = self._change, asyncio.Event()
        change.set()


class _IntoLoop:
    """Hands what feeds read to a hub, in the event loop of the hub."""

    def __init__(self, hub: LiveHub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop

    def publish(self, events: Sequence[Event]) -> None:
        self._call(lambda: self._hub._put(events))

    def lose(self) -> None:
        self._call(self._hub._lose)

    def skip(self, posts: int) -> None:
        self._call(lambda: self._hub._skip(posts))

    def _call(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has been closed: the process ends
            self._loop.call_soon_threadsafe(function)
