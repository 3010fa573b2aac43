"""The clients of the HTTP service, with answers that are not its own."""

from __future__ import annotations

import asyncio
import gzip
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.client import ApiConnectionError, ApiError, AsyncClient, Client, asynchronous, reading, synchronous
from api.client.following import LONGEST_PAUSE_S, MOST_RETRY_AFTER_S, Pauses
from tests.source_servers.canned import answer, answering

PAGES = [b"<html>", b"{}", b'{"status": "ready", "parts": 7}', b"\xff"]


@pytest.mark.parametrize("page", PAGES)
async def test_an_answer_of_another_program_is_an_error_of_one_line(page: bytes) -> None:
    def ask(url: str) -> None:
        with Client(url) as client:
            client.query("tea")

    async with answering(answer(page)) as (url, _):
        with pytest.raises(ApiError) as caught:
            await asyncio.to_thread(ask, url)
        async with AsyncClient(url) as client:
            with pytest.raises(ApiError):
                await client.ready()
    assert caught.value.status == 200
    assert str(caught.value) == "POST /v1/query: the answer is not one of emostream's HTTP service"


@pytest.mark.parametrize("data", ["no JSON", "[]", "7", '{"windows": 7}'])
async def test_a_message_of_another_program_ends_the_stream(data: str) -> None:
    body = f"id: 1\nevent: update\ndata: {data}\n\n".encode()
    async with answering(answer(body, Content_Type="text/event-stream")) as (url, _), AsyncClient(url) as client:
        with pytest.raises(ApiError, match="the live stream has a message"):
            await anext(client.follow("tea"))


async def test_an_error_does_not_show_the_password_of_the_address() -> None:
    async with AsyncClient("http://ann:secret@127.0.0.1:1") as client:
        with pytest.raises(ApiConnectionError, match="did not answer") as caught:
            await client.model()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
async def test_an_answer_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch, compressed: bool) -> None:
    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", 1_000)
    page = b" " * 1_001
    too_long = answer(gzip.compress(page), Content_Encoding="gzip") if compressed else answer(page)

    def ask(url: str) -> None:
        with Client(url) as client:
            client.model()

    async with answering(too_long) as (url, _):
        with pytest.raises(ApiError) as caught:
            await asyncio.to_thread(ask, url)
        async with AsyncClient(url) as client:
            with pytest.raises(ApiError, match="the answer has more than 1,000 bytes"):
                await client.model()
    assert str(caught.value) == "GET /v1/model: the answer has more than 1,000 bytes"


async def test_an_answer_of_the_most_bytes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = b'{"type": "x", "title": "x", "status": 418, "detail": "short and stout"}'
    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", len(problem))
    async with answering(answer(problem, status="418 Teapot")) as (url, _), AsyncClient(url) as client:
        with pytest.raises(ApiError, match="418: short and stout"):
            await client.model()


async def test_the_stream_waits_as_long_as_the_service_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    event = b'id: 1\nevent: update\ndata: {"windows": []}\n\n'
    answers = [answer(status="503 Busy", Retry_After="7"), answer(event, Content_Type="text/event-stream")]
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asynchronous, "asyncio", SimpleNamespace(sleep=pause))
    async with answering(*answers) as (url, _), AsyncClient(url) as client:
        assert (await anext(client.follow("tea"))).id == "1"

    def follow(url: str) -> str:
        with Client(url) as client:
            return next(client.follow("tea")).id

    monkeypatch.setattr(synchronous, "time", SimpleNamespace(sleep=pauses.append))
    async with answering(*answers) as (url, _):
        assert await asyncio.to_thread(follow, url) == "1"
    assert len(pauses) == 2
    assert all(7 < seconds < 8 for seconds in pauses)


@given(st.none() | st.floats(0, 1e12), st.integers(0, 100))
def test_a_pause_is_bounded_and_at_least_what_the_service_asks_for(asked_s: float | None, before: int) -> None:
    pauses = Pauses()
    for _ in range(before):
        pauses.next_s()
    asked = min(asked_s or 0.0, MOST_RETRY_AFTER_S)
    assert asked < pauses.next_s(asked_s) <= asked + LONGEST_PAUSE_S


async def test_an_event_that_is_too_long_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The events before it are delivered. Together they may be longer, because each is counted alone."""
    monkeypatch.setattr(reading, "MAX_ANSWER_BYTES", 100_000)
    event = b'id: %d\nevent: update\ndata: {"windows": []}\n\n'
    many = b"".join(event % number for number in range(10_000))
    assert len(many) > 3 * 100_000
    too_long = answer(many + b"data: " + b"x" * 400_000, Content_Type="text/event-stream")

    got: list[str] = []

    def follow(url: str) -> None:
        with Client(url) as client:
            for message in client.follow("tea"):
                got.append(message.id)

    async def follow_async(url: str) -> None:
        async with AsyncClient(url) as client:
            async for message in client.follow("tea"):
                got.append(message.id)

    async with answering(too_long) as (url, _):
        for following in (asyncio.to_thread(follow, url), follow_async(url)):
            with pytest.raises(ApiError, match="an event of more than 100,000 bytes"):
                await following
            assert got == [str(number) for number in range(10_000)]
            got.clear()
