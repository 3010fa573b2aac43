"""The web server's limits for clients that are slow, silent or send too much, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.protocols import MAX_HEAD_BYTES, BoundedHttp, BoundedWebSocket
from tests.helpers import until

PATIENT_S = 60.0
"""Seconds for what happens within a fraction of one, on a machine that is slow."""

WHOLE = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"

gone: list[str] = []
"""The paths of streams whose client the server has noticed to be gone."""


class QuickHttp(BoundedHttp):
    head_s = body_s = stalled_s = 0.3


class QuickWebSocket(BoundedWebSocket):
    stalled_s = 0.3


async def _echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def _endless(_request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65_536
                await asyncio.sleep(0)
        finally:
            gone.append("/endless")

    return StreamingResponse(chunks())


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_bytes(b"x" * 65_536)
    except WebSocketDisconnect:
        gone.append("/socket")


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve on a port, which it returns."""
    routes = [
        Route("/echo", _echo, methods=["POST"]),
        Route("/endless", _endless),
        WebSocketRoute("/socket", _socket),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), http=QuickHttp, ws=QuickWebSocket, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve([listening]))
        await until(lambda: server.started)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def sent(port: int, *parts: bytes) -> bytes:
    """Send parts, and return all that the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENT_S):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        found = await reader.read()
    writer.close()
    return found


def assert_refused(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in head
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"POST /ec",),
        (b"\r\n", b"\r\n"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\n", b"A: b\r\n"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na",),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",),
    ],
)
async def test_a_request_that_does_not_end_is_refused(parts: tuple[bytes, ...]) -> None:
    async with serving() as port:
        assert_refused(await sent(port, *parts), 408)


async def test_a_slow_second_request_is_refused_like_the_first() -> None:
    async with serving() as port:
        answer = await sent(port, WHOLE, b"\r\n", b"POST")
    first, _, second = answer.partition(b"abc")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert_refused(second, 408)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as port:
        answer = await sent(port, WHOLE * 50)
    assert answer.count(b"HTTP/1.1 200 OK") == 50


@pytest.mark.parametrize("chunks", [1, 20])
async def test_a_head_that_is_too_long_is_refused(chunks: int) -> None:
    long = b"X: " + b"y" * (MAX_HEAD_BYTES // chunks)
    parts = [b"GET /echo HTTP/1.1\r\nHost: x\r\n", *[long + b"\r\n"] * chunks, b"\r\n"]
    async with serving() as port:
        assert_refused(await sent(port, *parts), 431)


async def test_a_header_without_an_end_is_refused() -> None:
    async with serving() as port:
        assert_refused(await sent(port, b"GET / HTTP/1.1\r\nX: ", b"y" * MAX_HEAD_BYTES), 431)


@pytest.mark.parametrize("line", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GE T / HTTP/1.1\r\n\r\n"])
async def test_what_is_not_http_is_refused(line: bytes) -> None:
    async with serving() as port:
        assert_refused(await sent(port, line), 400)


HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("method", "more", "status"),
    [
        ("GET", "Content-Length: 3\r\n", 400),
        ("POST", "Content-Length: 0\r\n", 405),
        ("GET", "X: y\r\n" * 200, 431),
        ("GET", f"X: {'y' * 9_000}\r\n", 431),
    ],
    ids=["a body", "no GET", "many headers", "a long header"],
)
async def test_a_handshake_that_cannot_be_read_is_refused(method: str, more: str, status: int) -> None:
    async with serving() as port:
        answer = await sent(port, f"{method} /socket HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}{more}\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(("path", "more"), [("/endless", ""), ("/socket", HANDSHAKE)])
async def test_a_client_that_never_reads_is_disconnected(path: str, more: str) -> None:
    gone.clear()
    async with serving() as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
            await until(lambda: bool(gone))
    assert gone == [path]
