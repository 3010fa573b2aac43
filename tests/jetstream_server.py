"""The Jetstream server of `connectors.local`, which misbehaves when told to.

It may begin at a later event than the cursor, without a word, as the real one does if it no longer has the events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from connectors.local import jetstream
from connectors.local.jetstream import POSTS, Event, Query, commit, did

__all__ = ["POSTS", "Asked", "Fault", "JetstreamServer", "account", "commit", "did", "identity", "post_id"]


def identity(time_us: int, number: int = 0) -> Event:
    return {"did": did(number), "time_us": time_us, "kind": "identity", "identity": {"did": did(number), "seq": 1}}


def account(time_us: int, number: int, status: str = "deleted") -> Event:
    """Returns the event of an account that is not active any more."""
    state = {"did": did(number), "active": False, "status": status, "seq": 1}
    return {"did": did(number), "time_us": time_us, "kind": "account", "account": state}


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


class FaultError(Exception):
    """The connection misbehaves now."""


@dataclass
class Asked:
    """A request of a client: its path and the parameters of its query."""

    path: str
    parameters: Mapping[str, Sequence[str]]

    @property
    def cursor(self) -> int | None:
        return int(self.parameters["cursor"][0]) if "cursor" in self.parameters else None


@dataclass
class JetstreamServer(jetstream.JetstreamServer):
    """The server, in a thread with an event loop of its own. A context manager.

    Attributes:
        raw: messages that are sent at the beginning of the next connection as they are.
        order: changes the order in which the events of a replay are sent.
        asked: the requests so far, refused ones included.
        most_open: the most connections that were open at once.
    """

    raw: list[str | bytes] = field(default_factory=list)
    order: Callable[[list[Event]], list[Event]] = list
    asked: list[Asked] = field(default_factory=list)
    most_open: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._dropped = 0
        self._refusals: deque[tuple[int, dict[str, str]]] = deque()
        self._faults: deque[Fault] = deque()

    def refuse(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Answer the next request with a status."""
        self._refusals.append((status, dict(headers or {})))

    def fault(self, after: int, kind: str) -> None:
        """Let the next connection misbehave; each call is for one connection."""
        self._faults.append(Fault(after, kind))

    def drop_before(self, time_us: int) -> None:
        """Forget the events before a time, as the retention of the real server does."""
        self._dropped = time_us

    def _refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        self.asked.append(Asked(parts.path, parse_qs(parts.query)))
        if not self._refusals:
            return None
        status, headers = self._refusals.popleft()
        return Response(status, "Refused", Headers([*headers.items(), ("Content-Length", "0")]), b"")

    def _replayed(self, cursor: int) -> list[Event]:
        return self.order(super()._replayed(max(cursor, self._dropped)))

    async def _handle(self, connection: ServerConnection, query: Query) -> None:
        self.most_open = max(self.most_open, self.open)
        fault = self._faults.popleft() if self._faults else Fault(-1, "")
        left = fault.after

        async def send(message: str | bytes) -> None:
            nonlocal left
            await self._send(connection, message)
            left -= 1
            if left == 0:
                raise FaultError

        raw, self.raw = self.raw, []
        try:
            if left == 0:
                raise FaultError
            await self._send_events(connection, query, send, raw)
        except FaultError:
            await self._misbehave(connection, fault)

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
