"""A connection of the load generator with a server that answers what it should not."""

from __future__ import annotations

import asyncio
import socket

import pytest

from streams.ops.stress.connection import Connection


class _Owner:
    """Notes the status of answers, and waits for the end of the connection."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_answer(self, _connection: Connection, status: int, *, from_cache: bool) -> None:
        self.statuses.append(status)

    def on_lost(self, _connection: Connection, error: str) -> None:
        self.lost.set_result(error)


@pytest.mark.parametrize(
    ("answer", "statuses", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", [200], "connection closed"),
        (b"\x00\x01\r\n\r\n", [], "malformed answer"),
        # It changes to another protocol, for which nobody asked.
        (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nx", [101], "malformed answer"),
    ],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(answer: bytes, statuses: list[int], error: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        owner = _Owner()
        _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(owner), sock=ours)
        connection.send(b"GET / HTTP/1.1\r\n\r\n", 0, 0)
        theirs.sendall(answer)
        assert await asyncio.wait_for(owner.lost, 30) == error
    assert (owner.statuses, connection.is_closing) == (statuses, True)
