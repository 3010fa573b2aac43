"""The guarded WebSocket client: the limits of what it takes, and the errors of what refuses it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net import PrivateAddressError, WebSocket, open_websocket
from connectors.sources.protocol import RateLimitError
from tests.source_servers.canned import answer, answering


@asynccontextmanager
async def sending(*messages: str | bytes) -> AsyncIterator[str]:
    """Yield the address of a server that sends messages, and then closes the connection."""

    async def handle(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message)

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


async def received(socket: WebSocket) -> tuple[list[bytes], str]:
    """Returns the messages up to the end of the connection, and why it ended."""
    found = []
    try:
        async for message in socket.messages():
            found.append(message)
    except UnavailableError as exc:
        return found, str(exc)
    pytest.fail("a WebSocket ends with an error")


async def test_messages_are_bytes_and_the_end_is_an_error() -> None:
    async with sending("text", b"\x00binary") as url, open_websocket(url, allow_private=True, max_bytes=100) as socket:
        found, reason = await received(socket)
    assert found == [b"text", b"\x00binary"]
    assert reason.startswith("127.0.0.1 closed the connection")


async def test_a_message_has_a_limit() -> None:
    async with sending("x" * 200) as url, open_websocket(url, allow_private=True, max_bytes=100) as socket:
        assert (await received(socket))[0] == []


async def test_a_websocket_at_a_private_address_is_refused() -> None:
    async with sending("text") as url:
        with pytest.raises(PrivateAddressError):
            async with open_websocket(url, allow_private=False, max_bytes=100):
                pass


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (answer(status="429 Too Many Requests", Retry_After="9"), RateLimitError),
        (answer(status="429 Too Many Requests\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2"), RateLimitError),
        (answer(status="503 Service Unavailable"), UnavailableError),
        (answer(status="403 Forbidden"), RejectedError),
        (answer(b"<html>"), UnavailableError),
        (b"nothing of this kind\r\n\r\n", UnavailableError),
        (answer(status="302 Found", Location="ws://127.0.0.2:1/"), RejectedError),
    ],
)
async def test_a_websocket_that_is_refused(sent: bytes, error: type[Exception]) -> None:
    async with answering(sent) as (url, _):
        with pytest.raises(error) as caught:
            async with open_websocket(url.replace("http", "ws"), allow_private=True, max_bytes=100):
                pass
    assert isinstance(caught.value, RateLimitError) == (error is RateLimitError)


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws:///", "127.0.0.1"])
async def test_addresses_that_are_no_websocket(url: str) -> None:
    with pytest.raises(RejectedError):
        async with open_websocket(url, allow_private=True, max_bytes=100):
            pass
