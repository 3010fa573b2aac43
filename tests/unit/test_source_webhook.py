"""The source of a webhook, with real HTTP clients: it answers when Kafka has confirmed, and has a limit for all."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress

import httpx
import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.producer import Outgoing
from streams.ingest.shaped import webhook as webhook_module
from streams.ingest.shaped.webhook import WebhookSource
from streams.ingest.sources.instance import ClosableOpener
from tests.source_servers.reading import reading
from tests.source_world import World
from tests.webhook_support import GatedWorld, hook, pumping, receiving, texts, until


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
