"""What senders may not do to the source of a webhook: signatures, sizes, times and connections."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from connectors.sources.webhook import server
from connectors.sources.webhook.server import ServerLimits
from connectors.sources.webhook.signature import SignatureRules
from tests.source_world import World
from tests.webhook_support import SECRET, hook, pumping, receiving, texts, until


def signed(body: bytes, *, stamp: str | None = None, secret: bytes = SECRET) -> str:
    content = body if stamp is None else stamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret, content, hashlib.sha256).hexdigest()


async def test_signatures() -> None:
    body = b'{"id": 1, "body": "tea"}'
    world = World()
    async with receiving(world, signature=SignatureRules(SECRET)) as client:
        for headers in (
            {},
            {"X-Hub-Signature-256": "sha256="},
            {"X-Hub-Signature-256": signed(body, secret=b"another")},
            {"X-Hub-Signature-256": signed(body + b" ")},
            {"X-Hub-Signature-256": "sha256=\xff"},
        ):
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            answer = await client.post("/", content=body, headers=raw)
            assert answer.status_code == 401
            assert set(answer.json()) == {"error"}
        assert world.raw == []
        good = await client.post("/", content=body, headers={"X-Hub-Signature-256": signed(body).upper()[7:]})
        assert good.status_code == 200
    assert world.metric("emostream_source_refused_total", reason="bad_signature") == 5
    assert world.ids() == ["test:hook:1"]


async def test_a_recorded_request_cannot_be_sent_again_later() -> None:
    body = b'{"id": 1, "body": "tea"}'
    rules = SignatureRules(SECRET, "x-signature", "x-timestamp", tolerance_s=100)
    async with receiving(World(), signature=rules) as client:

        async def post(stamp: str, signature: str) -> int:
            headers = {"X-Signature": signature, "X-Timestamp": stamp}
            return (await client.post("/", content=body, headers=headers)).status_code

        now, old = str(int(time.time())), str(int(time.time()) - 200)
        assert await post(now, signed(body, stamp=now)) == 200
        assert await post(old, signed(body, stamp=old)) == 401
        assert await post(now, signed(body, stamp=old)) == 401
        assert await post(now, signed(body)) == 401
        assert await post("soon", signed(body, stamp="soon")) == 401


async def raw(client: httpx.AsyncClient, *parts: bytes) -> bytes:
    """Send bytes as they are, and return all that the server sends until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


async def test_what_is_too_much_or_no_request() -> None:
    world = World()
    async with receiving(world, limits=ServerLimits(body_bytes=1_000), most_posts=2) as client:

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 100

        assert (await client.post("/", content=b"x" * 1_001)).status_code == 413
        assert (await client.post("/", content=chunks())).status_code == 413
        assert (await client.post("/", json=[{"body": "a"}] * 3)).status_code == 413
        assert (await client.post("/", content=b"{}", headers={"Content-Encoding": "gzip"})).status_code == 415
        refused = await client.get("/")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert b" 431 " in await raw(client, HEAD, b"X: " + b"y" * 20_000)
        assert b" 400 " in await raw(client, b"\x16\x03\x01 nonsense\r\n\r\n")
        body = b'{"body": "tea"}'
        expecting = HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n" % len(body)
        answer = await raw(client, expecting, body)
        assert answer.startswith(b"HTTP/1.1 100 ")
        assert b"HTTP/1.1 200 " in answer
    assert texts(world) == ["tea"]
    assert world.metric("emostream_source_refused_total", reason="too_large") == 4


async def test_clients_that_send_slowly_are_disconnected() -> None:
    async with receiving(World(), limits=ServerLimits(request_s=1.0)) as client:
        head, body, nothing = await asyncio.gather(
            raw(client, HEAD), raw(client, HEAD + b"Content-Length: 10\r\n\r\n{"), raw(client)
        )
    assert b" 408 " in head
    assert b" 408 " in body
    assert nothing == b""


async def test_a_network_that_breaks_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    async with receiving(World()) as client:
        monkeypatch.setattr(server._Connection, "_event", fail)
        assert await raw(client, HEAD) == b""
    assert "No route to host" not in caplog.text


async def test_a_connection_more_than_allowed_is_refused() -> None:
    webhook = hook(limits=ServerLimits(connections=2))
    try:
        async with pumping(webhook, World()) as client:
            held = [await asyncio.open_connection("127.0.0.1", webhook.port) for _ in range(2)]
            await until(lambda: webhook.connections == 2)
            answer = await client.post("/", json={"body": "tea"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            for _, writer in held:
                writer.close()
            await until(lambda: webhook.connections == 0)
            assert (await client.post("/", json={"body": "tea"})).status_code == 200
    finally:
        await webhook.close()
