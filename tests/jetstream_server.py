"""A Jetstream server for tests: it speaks the protocol of `/subscribe` over a real socket, and misbehaves when told to.

It keeps its events, replays them from a cursor, and then sends new ones as they are added. As the real one, it begins
at the oldest event that it has, without a word, if the cursor is older than that.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import zstandard
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

POSTS = "app.bsky.feed.post"


def did(number: int) -> str:
    return f"did:plc:{number:024d}"


def commit(time_us: int, number: int, text: str = "hello", **changes: Any) -> dict[str, Any]:
    """Returns the event of a new post. `changes` are fields of its record, or `operation` or `collection`."""
    operation = changes.pop("operation", "create")
    collection = changes.pop("collection", POSTS)
    body: dict[str, Any] = {"rev": "3", "operation": operation, "collection": collection, "rkey": f"r{number}"}
    if operation != "delete":
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_us // 1_000_000))
        body["record"] = {"$type": collection, "text": text, "createdAt": f"{created}.000Z", "langs": ["en"], **changes}
        body["cid"] = f"bafy{number}"
    return {"did": did(number), "time_us": time_us, "kind": "commit", "commit": body}


def identity(time_us: int, number: int = 0) -> dict[str, Any]:
    return {"did": did(number), "time_us": time_us, "kind": "identity", "identity": {"did": did(number), "seq": 1}}


def post_id(number: int) -> str:
    """Returns the id that the post of `commit` has in the raw topic."""
    return f"bluesky:at://{did(number)}/{POSTS}/r{number}"


@dataclass
class Fault:
    """What one connection does instead of going on after some messages.

    Attributes:
        after: the number of messages before it.
        kind: `close` (properly), `cut` (in the middle of a message), or `silence`.
    """

    after: int
    kind: str


@dataclass
class Asked:
    """A request of a client: its path and the parameters of its query."""

    path: str
    parameters: Mapping[str, Sequence[str]]

    @property
    def cursor(self) -> int | None:
        return int(self.parameters["cursor"][0]) if "cursor" in self.parameters else None


@dataclass
class JetstreamServer:
    """The server, in a thread with an event loop of its own. A context manager.

    Attributes:
        dictionary: the zstd dictionary; None if the server does not compress.
        raw: messages that are sent at the beginning of the next connection as they are.
        order: changes the order in which the events of a replay are sent.
        asked: the requests so far, refused ones included.
        open: the connections that are open.
        most_open: the most connections that were open at once.
        sent: the messages that were sent so far, over all connections.
    """

    dictionary: bytes | None = None
    raw: list[str | bytes] = field(default_factory=list)
    order: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = list
    asked: list[Asked] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._dropped = 0
        self._refusals: deque[tuple[int, dict[str, str]]] = deque()
        self._faults: deque[Fault] = deque()
        self._changed: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="jetstream")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/subscribe"

    def add(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events, which are sent to all clients. Thread-safe."""
        found = list(events)
        self._loop.call_soon_threadsafe(self._add, found)

    def refuse(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next request with a status."""
        self._refusals.append((status, dict(headers or {})))

    def fault(self, after: int, kind: str) -> None:
        """Let the next connection misbehave; each call is for one connection."""
        self._faults.append(Fault(after, kind))

    def drop_before(self, time_us: int) -> None:
        """Forget the events before a time, as the retention of the real server does."""
        self._dropped = time_us

    def _add(self, events: list[dict[str, Any]]) -> None:
        self._events += events
        self._wake()

    def _wake(self) -> None:
        assert self._changed is not None
        self._changed.set()
        self._changed = asyncio.Event()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._changed = asyncio.Event()
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._check,
            compression=None,
            ping_interval=None,
            close_timeout=1,
        ) as server:
            self.port = _port(server)
            self._ready.set()
            await self._end.wait()
            self._wake()
            server.close(code=1001)

    def _check(self, _: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        self.asked.append(Asked(parts.path, parse_qs(parts.query)))
        if not self._refusals:
            return None
        status, headers = self._refusals.popleft()
        return Response(status, "Refused", Headers([*headers.items(), ("Content-Length", "0")]), b"")

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        asked = Asked("", parse_qs(urlsplit(connection.request.path).query))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._send_events(connection, asked)
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1

    async def _send_events(self, connection: ServerConnection, asked: Asked) -> None:
        fault = self._faults.popleft() if self._faults else Fault(-1, "")
        sent = 0
        position = len(self._events)
        pending: list[str | bytes] = [*self.raw]
        self.raw = []
        if (cursor := asked.cursor) is not None and cursor <= time.time() * 1_000_000:
            start = max(cursor, self._dropped)
            pending += self.order([event for event in self._events if event["time_us"] >= start])  # type: ignore[arg-type]
        while not self._end.is_set():
            for event in pending:
                if sent == fault.after:
                    await self._misbehave(connection, fault)
                    return
                message = event if isinstance(event, str | bytes) else self._encoded(event, asked)
                if message is not None:
                    await connection.send(message)
                    sent += 1
                    self.sent += 1
            if sent == fault.after:
                await self._misbehave(connection, fault)
                return
            changed = self._changed
            assert changed is not None
            pending = list(self._events[position:])
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

    async def _misbehave(self, connection: ServerConnection, fault: Fault) -> None:
        if fault.kind == "silence":
            await connection.wait_closed()
        elif fault.kind == "cut":
            # The head of a text frame of 256 bytes, and a part of it.
            connection.transport.write(b'\x81\x7e\x01\x00{"did":"did:plc:')
            await asyncio.sleep(0.01)
            connection.transport.abort()
        else:
            await connection.close(1011, "the consumer is too slow")

    def _encoded(self, event: dict[str, Any], asked: Asked) -> str | bytes | None:
        wanted = asked.parameters.get("wantedCollections")
        if event.get("kind") == "commit" and wanted and event["commit"].get("collection") not in wanted:
            return None
        text = json.dumps(event)
        most = int(asked.parameters.get("maxMessageSizeBytes", ["0"])[0])
        if most and len(text.encode()) > most:
            return None
        if self.dictionary is not None and asked.parameters.get("compress") == ["true"]:
            data = zstandard.ZstdCompressionDict(self.dictionary)
            return zstandard.ZstdCompressor(dict_data=data).compress(text.encode())
        return text


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])
