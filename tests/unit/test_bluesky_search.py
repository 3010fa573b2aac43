"""The search of Bluesky against a server on a socket: its pages, its limit, and its failures."""

import json
from datetime import UTC, datetime

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.bluesky import BlueskySource
from connectors.sources.protocol import RateLimitError
from tests.jetstream_server import did
from tests.source_servers.canned import answer, answering


def page(numbers: range, cursor: str | None) -> bytes:
    items = [
        {
            "uri": f"at://{did(number)}/app.bsky.feed.post/r{number}",
            "author": {"did": did(number)},
            "indexedAt": "2026-03-01T12:00:00.000Z",
            "record": {"text": f"post {number}", "createdAt": "2026-03-01T12:00:00.000Z"},
        }
        for number in numbers
    ]
    return answer(json.dumps({"posts": [*items, {"uri": 1}, None], "cursor": cursor}).encode())


async def test_the_search_reads_page_after_page() -> None:
    async with answering(page(range(100), "100"), page(range(100, 150), None)) as (url, paths):
        bluesky = BlueskySource(allow_private=True, search_endpoint=url)
        since = datetime(2026, 3, 1, tzinfo=UTC)
        found = [post async for post in bluesky.search("tea time", since=since)]
        await bluesky.close()
    assert [post.text for post in found] == [f"post {number}" for number in range(150)]
    assert "q=tea+time" in paths[0]
    assert "since=2026-03-01T00%3A00%3A00.000000Z" in paths[0]
    assert "cursor=100" in paths[1]


async def test_the_search_stops_at_its_limit() -> None:
    async with answering(page(range(100), "100")) as (url, paths):
        bluesky = BlueskySource(allow_private=True, search_endpoint=url)
        assert len([post async for post in bluesky.search("tea", limit=30)]) == 30
        await bluesky.close()
    assert len(paths) == 1


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (answer(status="429 Too Many Requests", Retry_After="3"), RateLimitError),
        (answer(status="400 Bad Request"), RejectedError),
        (answer(b"<html>"), UnavailableError),
        (answer(b"[]"), UnavailableError),
    ],
)
async def test_a_search_that_fails(sent: bytes, error: type[Exception]) -> None:
    async with answering(sent) as (url, _):
        bluesky = BlueskySource(allow_private=True, search_endpoint=url)
        with pytest.raises(error):
            await anext(bluesky.search("tea"))
        await bluesky.close()
