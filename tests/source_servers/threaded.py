"""Runs a server of `source_servers` in a thread, for tests that start processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from tests.source_servers.http import HttpServer

S = TypeVar("S", bound=HttpServer)
T = TypeVar("T")


class Threaded(Generic[S]):
    """A server whose event loop is in another thread. What changes it is called there."""

    def __init__(self, server: S, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    def call(self, work: Callable[[S], T]) -> T:
        """Call a function with the server in the thread of the server, and return its result."""

        async def run() -> T:
            return work(self.server)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)


@contextmanager
def threaded(server: S) -> Iterator[Threaded[S]]:
    """Serve in a thread until the end of the block."""
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stop: Any = None

    async def serve() -> None:
        nonlocal stop
        stop = asyncio.Event()
        async with server:
            ready.set_result(asyncio.get_running_loop())
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop = ready.result(60)
    try:
        yield Threaded(server, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
