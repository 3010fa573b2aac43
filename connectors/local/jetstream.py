"""A server that speaks Jetstream's protocol of `/subscribe`, for demonstrations and tests without a network.

It keeps its events, replays them from a cursor, and then sends new ones as they are added. As the real one, it sends
the collections and the longest message that the client asks for, and compresses if it has a dictionary. The protocol is
documented in the README of github.com/bluesky-social/jetstream.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import zstandard
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

POSTS = "app.bsky.feed.post"

_START_S = 30.0

Event = dict[str, Any]
Query = Mapping[str, Sequence[str]]
Send = Callable[[str | bytes], Awaitable[None]]


def did(number: int) -> str:
    """Returns an account."""
    return f"did:plc:{number:024d}"


def commit(time_us: int, number: int, text: str = "hello", **changes: Any) -> Event:  # noqa: ANN401 - any JSON
    """Returns the event of a new post.

    Args:
        time_us: when the server has received it, in microseconds since 1970.
        number: its number, which its account and its key are made of.
        text: its text.
        changes: fields of its record, or `operation` or `collection`.
    """
    operation = changes.pop("operation", "create")
    collection = changes.pop("collection", POSTS)
    body: Event = {"rev": "3", "operation": operation, "collection": collection, "rkey": f"r{number}"}
    if operation != "delete":
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_us // 1_000_000))
        body["record"] = {"$type": collection, "text": text, "createdAt": f"{created}.000Z", "langs": ["en"], **changes}
        body["cid"] = f"bafy{number}"
    return {"did": did(number), "time_us": time_us, "kind": "commit", "commit": body}


@dataclass
class JetstreamServer:
    """The server, in a thread with an event loop of its own. A context manager.

    Attributes:
        dictionary: the zstd dictionary; None if the server does not compress.
        open: the connections that are open.
        sent: the messages that were sent so far, over all connections.
    """

    dictionary: bytes | None = None
    open: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        self._events: list[Event] = []
        self._changed = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="jetstream")

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise TimeoutError("the Jetstream server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_START_S)

    @property
    def url(self) -> str:
        """The address for `emostream ingest bluesky --endpoint`."""
        return f"ws://127.0.0.1:{self.port}/subscribe"

    def add(self, events: Iterable[Event]) -> None:
        """Add events, which are sent to all clients. Thread-safe."""
        found = list(events)
        self._loop.call_soon_threadsafe(self._add, found)

    def _add(self, events: list[Event]) -> None:
        self._events += events
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._refusal,
            compression=None,
            ping_interval=None,
            close_timeout=1,
        ) as server:
            self.port = int(next(iter(server.sockets)).getsockname()[1])
            self._ready.set()
            await self._end.wait()
            self._wake()
            server.close(code=1001)

    def _refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        """Returns the answer that refuses a request; None to accept it."""
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None  # noqa: S101 - the handshake is done
        query = parse_qs(urlsplit(connection.request.path).query)
        self.open += 1
        try:
            await self._handle(connection, query)
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1

    async def _handle(self, connection: ServerConnection, query: Query) -> None:
        await self._send_events(connection, query, partial(self._send, connection))

    async def _send(self, connection: ServerConnection, message: str | bytes) -> None:
        await connection.send(message)
        self.sent += 1

    def _replayed(self, cursor: int) -> list[Event]:
        """Returns the events from a cursor on, in the order in which they are sent."""
        return [event for event in self._events if event["time_us"] >= cursor]

    async def _send_events(
        self, connection: ServerConnection, query: Query, send: Send, first: Iterable[str | bytes] = ()
    ) -> None:
        """Send events until the connection ends; before them, the messages `first` as they are."""
        position, pending = len(self._events), []
        # Without a cursor, and with one in the future, the server begins now.
        if "cursor" in query and (cursor := int(query["cursor"][0])) <= time.time() * 1_000_000:
            pending = self._replayed(cursor)
        for message in first:
            await send(message)
        while not self._end.is_set():
            for event in pending:
                encoded = self._encoded(event, query)
                if encoded is not None:
                    await send(encoded)
            changed = self._changed
            pending = self._events[position:]
            position = len(self._events)
            if not pending:
                closed = asyncio.ensure_future(connection.wait_closed())
                waiting = asyncio.ensure_future(changed.wait())
                await asyncio.wait([closed, waiting], return_when=asyncio.FIRST_COMPLETED)
                done = closed.done()
                closed.cancel()
                waiting.cancel()
                if done:
                    return

    def _encoded(self, event: Event, query: Query) -> str | bytes | None:
        wanted = query.get("wantedCollections")
        if event.get("kind") == "commit" and wanted and event["commit"].get("collection") not in wanted:
            return None
        text = json.dumps(event)
        most = int(query.get("maxMessageSizeBytes", ["0"])[0])
        if most and len(text.encode()) > most:
            return None
        if self.dictionary is not None and query.get("compress") == ["true"]:
            data = zstandard.ZstdCompressionDict(self.dictionary)
            return zstandard.ZstdCompressor(dict_data=data).compress(text.encode())
        return text
