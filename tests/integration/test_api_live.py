"""Live streams with clients that never read: the others notice nothing, and the service does not grow."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import count
from urllib.parse import urlsplit

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.ops.demo.processes import Role
from streams.settings import Settings
from streams.windows.codec import to_window
from streams.windows.tumbling import WindowKey
from tests.integration.api_support import address_of
from tests.integration.support import TIMEOUT_S
from tests.integration.window_store_support import START

READERS = 90
STUCK = 10
LIVE = {"EMOSTREAM_API_PORT": "0", "EMOSTREAM_API_LIVE_INTERVAL_S": "0.1"}
UPDATES = 50
MOST_GROWTH_BYTES = 60 * 1024 * 1024
"""The stuck clients miss 10 MB each, so the service would grow by more than this if each had a queue."""


@contextmanager
def stuck_client(address: str) -> Iterator[None]:
    """A client that asks for the stream, and reads nothing. The system keeps little for it."""
    at = urlsplit(address)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect((at.hostname, at.port))
        client.sendall(
            f"GET /v1/live?keyword=large HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        yield


async def revision_of(client: ClientConnection) -> int:
    """Returns the revision of the window in the next update."""
    message = json.loads(await client.recv())
    assert message["event"] == "update"
    (window,) = message["data"]["windows"]
    return int(window["revision"])


async def read_updates(client: ClientConnection) -> None:
    """Read `UPDATES` updates; each has a newer state than the one before."""
    revisions = [await revision_of(client) for _ in range(UPDATES)]
    assert revisions == sorted(set(revisions))


async def test_clients_that_never_read_do_not_delay_the_others(
    start: Callable[..., Role], settings: Settings, producer: ConfirmedProducer
) -> None:
    service = start("api", **LIVE)
    address = address_of(service)
    process = psutil.Process(service.pid)
    labels = {f"l:{'x' * 150}{number}": "1" for number in range(100)}

    def written(revision: int) -> list[Outgoing]:
        """Returns a window of the readers, and ten that have 20 kB each."""
        state = {"n": "1", "rev": str(revision)}
        windows = [to_window(WindowKey("tea", 60, START), state)]
        windows += [to_window(WindowKey("large", 60, START + 60_000 * at), {**state, **labels}) for at in range(10)]
        return [Outgoing(settings.topic_windows, one.to_json(), one.key.encode(), 0) for one in windows]

    async def write() -> None:
        for revision in count(1):
            await asyncio.wrap_future(producer.submit(written(revision)))
            await asyncio.sleep(0.1)

    async def live_clients() -> float:
        text = (await http.get("/metrics")).text
        return float(text.partition("\nemostream_live_clients ")[2].partition("\n")[0])

    async with AsyncExitStack() as opened, asyncio.timeout(TIMEOUT_S):
        http = await opened.enter_async_context(httpx.AsyncClient(base_url=address, timeout=TIMEOUT_S))
        url = f"{address.replace('http', 'ws')}/v1/live?keyword=tea"
        readers = [await opened.enter_async_context(connect(url, compression=None)) for _ in range(READERS)]
        writing = asyncio.create_task(write())
        opened.callback(writing.cancel)
        await asyncio.gather(*map(revision_of, readers))
        await asyncio.gather(*map(read_updates, readers))
        before = process.memory_info().rss
        for _ in range(STUCK):
            opened.enter_context(stuck_client(address))
        while await live_clients() < READERS + STUCK:  # noqa: ASYNC110 - another process counts them
            await asyncio.sleep(0.05)
        await asyncio.gather(*map(read_updates, readers))
        assert process.memory_info().rss - before < MOST_GROWTH_BYTES
