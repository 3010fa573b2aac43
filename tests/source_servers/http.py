"""An HTTP/1.1 server in the event loop of a test. Its answers can be cut off, delayed or replaced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode())) if self.headers.get("content-type") == FORM else {}


@dataclass(frozen=True)
class Reply:
    """An answer. `cut` sends only so many bytes of the body, and then resets the connection."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


class Hangup(Exception):  # noqa: N818 - not an error
    """Raised by a stream to reset the connection."""


Stream = AsyncGenerator[bytes, None]


class HttpServer:
    """An async context manager. A subclass answers requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: list[tuple[str, Reply]] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Reply | Stream:
        raise NotImplementedError

    def fail(self, path: str, *replies: Reply) -> None:
        """The next requests whose path begins so are answered with these replies."""
        self.faults.extend((path, reply) for reply in replies)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                reply = self._fault(request.path) or await self.answer(request)
                if isinstance(reply, Reply):
                    await _send(writer, reply)
                else:
                    await _send_stream(reader, writer, reply)
        except (Hangup, ConnectionError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _fault(self, path: str) -> Reply | None:
        for index, (beginning, reply) in enumerate(self.faults):
            if path.startswith(beginning):
                del self.faults[index]
                return reply
        return None


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(unquote(parts.path), dict(parse_qsl(parts.query)), headers, method, body)


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body[: reply.cut])
    await writer.drain()
    if reply.cut is not None:
        raise Hangup


async def _send_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: Stream) -> None:
    """Send parts in chunks as they come, until the stream ends or the client goes away."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def send() -> None:
        async with aclosing(stream):
            async for part in stream:
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    sending, leaving = asyncio.create_task(send()), asyncio.create_task(reader.read(1))
    try:
        done, _ = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending in done:
            sending.result()
        raise Hangup
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
