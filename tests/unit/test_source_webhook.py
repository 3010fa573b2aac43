"""The source of a webhook, with real HTTP clients: it answers when Kafka has confirmed, and has a limit for all."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.producer import Outgoing, WrittenOffsets
from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.webhook.server import ServerLimits
from connectors.sources.webhook.signature import SignatureRules
from streams.ingest.shaped import webhook as webhook_module
from streams.ingest.shaped.documents import DocumentReader
from streams.ingest.shaped.webhook import Webhook, WebhookOptions, WebhookSource
from streams.ingest.sources.instance import ClosableOpener
from streams.ingest.sources.pump import StorageError
from tests.source_servers.reading import reading
from tests.source_world import World

SECRET = b"0123456789abcdef"
READER = DocumentReader("hook", FieldMap.parse({"text": "body"}))


@dataclass
class GatedWorld(World):
    """A raw topic that confirms nothing while the gate is closed."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    delivering: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, records: Sequence[Outgoing], /) -> WrittenOffsets:
        self.delivering.set()
        await self.gate.wait()
        return await super().deliver(records)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


def hook(**options: object) -> Webhook:
    return Webhook(WebhookOptions(**{"host": "127.0.0.1", "port": 0, "reader": READER, **options}))  # type: ignore[arg-type]


@asynccontextmanager
async def pumping(webhook: Webhook, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Read the next source of a webhook, as a process does, until the end of the block."""
    source, stop = webhook(), asyncio.Event()
    pump = asyncio.create_task(world.pump().run(source, stop))
    try:
        await until(lambda: webhook.source is source or pump.done())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{webhook.port}", trust_env=False) as client:
            yield client
    finally:
        stop.set()
        with suppress(StorageError):
            await pump
        await source.close()


@asynccontextmanager
async def receiving(world: World, **options: object) -> AsyncIterator[httpx.AsyncClient]:
    webhook = hook(**options)
    try:
        async with pumping(webhook, world) as client:
            yield client
    finally:
        await webhook.close()


def texts(world: World) -> list[str]:
    return [post.text for post in world.posts()]


async def test_an_object_an_array_and_json_lines() -> None:
    world = World()
    async with receiving(world) as client:
        answers = [
            await client.post("/any/path", content=body)
            for body in (
                b'{"id": 1, "body": "one", "created_at": "2026-03-01T12:00:00Z"}',
                b'\xef\xbb\xbf[{"id": 2, "body": "two"}, {"id": 3, "body": "[deleted]"}]',
                b'{"id": 4, "body": "four"}\n\n{"id": 5, "body": "five\\ud83d"}\n',
                b"[]",
            )
        ]
    assert [(answer.status_code, answer.json()["accepted"]) for answer in answers] == [
        (200, 1),
        (200, 2),
        (200, 2),
        (200, 0),
    ]
    assert world.ids() == [f"test:hook:{number}" for number in (1, 2, 4, 5)]
    assert texts(world) == ["one", "two", "four", "five�"]
    assert world.metric("emostream_source_refused_total", reason="removed") == 1
    assert world.metric("emostream_source_repaired_total", problem="characters") == 1
    assert world.positions[-1].cursor == "5"


async def test_the_answer_comes_when_kafka_has_confirmed() -> None:
    world = GatedWorld()
    async with receiving(world) as client:
        answer = asyncio.create_task(client.post("/", json={"id": 1, "body": "tea"}))
        await world.delivering.wait()
        await asyncio.sleep(0.05)
        assert not answer.done()
        world.gate.set()
        assert (await answer).status_code == 200
    assert world.ids() == ["test:hook:1"]


async def test_a_post_that_is_sent_again_is_one_post() -> None:
    world = World()
    async with receiving(world) as client:
        for _ in range(2):
            answer = await client.post("/", json=[{"body": "no id"}, {"body": "another"}])
            assert answer.json() == {"accepted": 2, "refused": 0, "problems": []}
    assert sorted(texts(world)) == ["another", "no id"]
    assert world.metric("emostream_source_duplicates_total") == 2


async def test_what_cannot_be_read_is_named_and_the_rest_is_stored() -> None:
    world = World()
    async with receiving(world) as client:
        answer = await client.post("/", json=[{"body": "good"}, {"body": 5}, 7, {"body": " "}])
        lines = await client.post("/", content=b'{"body": "line"}\nnonsense\n')
        broken = await client.post("/", content=b"{")
        empty = await client.post("/", content=b"")
    assert answer.status_code == 422
    assert answer.json()["accepted"] == 1
    assert [problem["index"] for problem in answer.json()["problems"]] == [1, 2, 3]
    assert "no text" in answer.json()["problems"][0]["reason"]
    assert (lines.status_code, lines.json()["problems"][0]["index"]) == (422, 1)
    assert (broken.status_code, empty.status_code) == (400, 400)
    assert texts(world) == ["good", "line"]
    assert world.metric("emostream_source_refused_total", reason="unreadable") == 5


async def test_when_kafka_fails_the_sender_is_told_to_send_again() -> None:
    world, webhook = World(), hook()
    assert isinstance(webhook, ClosableOpener)

    def fail(_: Sequence[Outgoing]) -> None:
        raise UnavailableError("Kafka does not answer")

    post = {"id": 1, "body": "tea"}
    try:
        async with httpx.AsyncClient(trust_env=False) as sender:
            async with pumping(webhook, world) as client:
                world.on_deliver = fail
                answer = asyncio.create_task(sender.post(client.base_url, json=post))
                await until(lambda: webhook.source is None)
            refused = await answer
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            # The port answers between two sources too.
            assert (await sender.post(f"http://127.0.0.1:{webhook.port}/", json=post)).status_code == 503
        world.on_deliver = lambda _: None
        async with pumping(webhook, world) as client:
            assert (await client.post("/", json=post)).status_code == 200
    finally:
        await webhook.close()
    assert world.ids() == ["test:hook:1"]
    assert world.metric("emostream_source_refused_total", reason="busy") == 2


async def test_a_request_is_refused_while_too_many_posts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "MOST_WAITING", 3)
    world = GatedWorld()
    async with receiving(world, answer_s=0.3) as client:
        first = asyncio.create_task(client.post("/", json=[{"id": 1, "body": "a"}, {"id": 2, "body": "b"}]))
        await world.delivering.wait()
        second = await client.post("/", json=[{"id": 3, "body": "c"}, {"id": 4, "body": "d"}])
        # The first one waits until its time is over. Its posts are stored all the same, once.
        assert [second.status_code, (await first).status_code] == [503, 503]
        world.gate.set()
        again = [{"id": number, "body": text} for number, text in enumerate("abc", start=1)]
        for _ in range(100):
            if (answer := await client.post("/", json=again)).status_code == 200:
                break
        assert answer.status_code == 200
    assert texts(world) == ["a", "b", "c"]


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
    async with receiving(World(), limits=ServerLimits(request_s=0.2)) as client:
        assert b" 408 " in await raw(client, HEAD)
        assert b" 408 " in await raw(client, HEAD + b"Content-Length: 10\r\n\r\n{")
        assert await raw(client) == b""


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


async def test_a_defect_is_no_promise(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("a defect")

    async with receiving(World()) as client:
        monkeypatch.setattr(webhook_module, "read_body", fail)
        answer = await client.post("/", json={"body": "tea"})
    assert (answer.status_code, answer.json()) == (500, {"error": "the request could not be handled"})
    assert "a request could not be answered" in caplog.text


async def test_a_port_in_use_is_tried_again_and_a_wrong_cursor_is_an_error() -> None:
    async with receiving(World()) as client:
        async with reading(hook(port=client.base_url.port)()) as found:
            assert isinstance(await found.error(), UnavailableError)
        async with reading(hook(host="192.0.2.1", port=8090)()) as found:
            assert isinstance(await found.error(), RejectedError)
        async with reading(hook()(), "x") as found:
            assert isinstance(await found.error(), RejectedError)


async def test_whenever_it_is_killed_every_post_that_its_sender_sends_again_is_there_once() -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, world = random.Random(seed), World()
    webhook = hook()
    wanted = [f"post {number}" for number in range(30)]
    left = list(wanted)

    async def send() -> None:
        """Send the posts one after the other, each until it is accepted."""
        async with httpx.AsyncClient(trust_env=False) as client:
            while left:
                with suppress(httpx.TransportError):
                    answer = await client.post(url, content=json.dumps({"body": left[0]}))
                    if answer.status_code == 200:
                        left.pop(0)
                        continue
                await asyncio.sleep(0.002)

    async def life(source: WebhookSource, seconds: float) -> None:
        pump = asyncio.create_task(world.pump().run(source, asyncio.Event()))
        await asyncio.wait([pump], timeout=seconds)
        pump.cancel()
        await asyncio.wait([pump])
        await source.close()

    await webhook.listen()
    port = webhook.port
    url = f"http://127.0.0.1:{port}"
    sender = asyncio.create_task(send())
    while not sender.done():
        await life(webhook(), chance.uniform(0.0, 0.4))
        if chance.random() < 0.3:
            await webhook.close()
            webhook = hook(port=port)
            await webhook.listen()
    await sender
    await webhook.close()
    assert texts(world) == wanted
