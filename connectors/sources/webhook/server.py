"""An HTTP/1.1 server that hands each request to a function, with a limit for everything that a client may do.

h11 reads and writes the protocol (RFC 9112). Clients that send slowly, or nothing, are disconnected: a request must be
complete `request_s` after the server began to wait for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import h11

logger = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES: Final = 16 * 1024
"""The longest request line and headers."""

_LINGER_S: Final = 1.0
"""Seconds in which the rest of a refused request is read."""

_CLOSE_S: Final = 2.0
"""Seconds that the last answers have when the server closes."""


@dataclass(frozen=True)
class Request:
    """A request. The names of headers are in lower case."""

    method: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer, whose body is a JSON object."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]
"""Answers a request. It is called in the event loop of the server, for several requests at the same time."""


@dataclass(frozen=True)
class ServerLimits:
    """What clients may do.

    Attributes:
        body_bytes: the longest body.
        connections: connections at the same time.
        request_s: seconds that a request may take to come, head and body.
    """

    body_bytes: int = 1_000_000
    connections: int = 64
    request_s: float = 20.0


class _RefusedError(Exception):
    """A request that is answered without the handler; then the connection is closed."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class HttpServer:
    """A server of one event loop."""

    def __init__(self, handler: Handler, limits: ServerLimits, *, on_refused: Callable[[int], None]) -> None:
        """Prepare a server; `start` begins to listen.

        Args:
            handler: answers the requests.
            limits: what clients may do.
            on_refused: called with the status of each answer that the handler did not give.
        """
        self._handler = handler
        self._limits = limits
        self._on_refused = on_refused
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    @property
    def connections(self) -> int:
        """The connections that are open."""
        return len(self._connections)

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port, which is another one if `port` is 0.

        Raises:
            OSError: The port is in use, or the address is not one of this machine.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=_CHUNK_BYTES)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Stop listening, let the requests that have come be answered, and close the connections."""
        if self._server is None:
            return
        self._closing.set()
        self._server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_CLOSE_S)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        if len(self._connections) >= 2 * self._limits.connections:
            # There are too many even to be answered.
            self._on_refused(503)
            writer.transport.abort()
            return
        self._connections.add(task)
        connection = _Connection(reader, writer, self._limits)
        try:
            if len(self._connections) > self._limits.connections:
                raise _RefusedError(503, f"there are {self._limits.connections} connections already")
            await self._serve(connection)
        except _RefusedError as exc:
            self._on_refused(exc.status)
            headers = {"retry-after": "5"} if exc.status == 503 else {}
            with suppress(OSError, h11.LocalProtocolError):
                await connection.send(Answer(exc.status, {"error": str(exc)}, headers), close=True)
                await connection.linger()
        except (OSError, h11.ProtocolError):
            pass  # the client or its network has gone, or it does not read its answer; `TimeoutError` is an OSError
        finally:
            self._connections.discard(task)
            await connection.close()

    async def _serve(self, connection: _Connection) -> None:
        """Answer the requests of a connection, one after the other."""
        while not self._closing.is_set():
            request = await self._next(connection)
            if request is None:
                return
            try:
                answer = await self._handler(request)
            except Exception:
                # The client must know that its posts are not safe. The defect is for the log.
                logger.exception("a request could not be answered")
                answer = Answer(500, {"error": "the request could not be handled"})
            await connection.send(answer, close=self._closing.is_set())
            if not connection.begin_again():
                return

    async def _next(self, connection: _Connection) -> Request | None:
        """Returns the next request; None if the client has gone, or the server closes."""
        reading = asyncio.ensure_future(connection.request())
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({reading, closing}, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()
            closing.cancel()
            await asyncio.wait({reading, closing})


class _Connection:
    """A connection of a client: reads requests and writes answers with h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: ServerLimits) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)

    async def request(self) -> Request | None:
        """Returns the next request; None if the client has gone.

        Raises:
            _RefusedError: It is not HTTP, too large, or not complete in time.
        """
        try:
            async with asyncio.timeout(self._limits.request_s):
                return await self._request()
        except TimeoutError:
            if self._protocol.their_state is h11.IDLE and self._protocol.trailing_data[0] == b"":
                return None  # nothing of a request has come
            raise _RefusedError(408, f"the request was not complete after {self._limits.request_s:g} s") from None
        except h11.RemoteProtocolError as exc:
            raise _RefusedError(exc.error_status_hint, f"the request is not valid HTTP: {exc}") from None

    async def _request(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = await self._event()
            if isinstance(event, h11.Request):
                head = event
                self._check_length(head)
                if self._protocol.they_are_waiting_for_100_continue:
                    await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.body_bytes:
                    raise self._too_large()
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode("ascii"), headers, bytes(body))
            else:
                return None

    async def _event(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._reader.read(_CHUNK_BYTES))
        return event

    def _check_length(self, head: h11.Request) -> None:
        for name, value in head.headers:
            if name == b"content-length" and int(value) > self._limits.body_bytes:
                raise self._too_large()

    def _too_large(self) -> _RefusedError:
        return _RefusedError(413, f"a body has at most {self._limits.body_bytes:,} bytes")

    async def send(self, answer: Answer, *, close: bool) -> None:
        """Send an answer.

        Args:
            answer: the answer.
            close: whether the client is told that the connection will be closed.

        Raises:
            OSError: The client has gone, or did not read the answer within `request_s`.
        """
        content = json.dumps(answer.body).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(content)),
            **answer.headers,
            **({"connection": "close"} if close else {}),
        }
        given = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        async with asyncio.timeout(self._limits.request_s):
            await self._write(h11.Response(status_code=answer.status, headers=given))
            await self._write(h11.Data(data=content))
            await self._write(h11.EndOfMessage())

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._protocol.send(event) or b"")
        await self._writer.drain()

    def begin_again(self) -> bool:
        """Prepare for the next request. Returns whether the connection stays open for one."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    async def linger(self) -> None:
        """Read what the client still sends, for a moment: it sees no answer if its request is reset."""
        self._writer.write_eof()
        async with asyncio.timeout(_LINGER_S):
            while await self._reader.read(_CHUNK_BYTES):
                pass

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(OSError):
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()
