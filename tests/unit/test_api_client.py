"""The clients of the HTTP service, with answers that are not its own."""

from __future__ import annotations

import asyncio

import pytest

from api.client import ApiConnectionError, ApiError, AsyncClient, Client
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
