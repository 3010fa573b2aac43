"""Fetches while a server is away: they answer, and their posts are kept until it is back, or reported as lost."""

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.deadline import Deadline
from connectors.local import LocalStack
from streams.ingest.keywords.store import add_keywords
from streams.query import fetch as fetch_module
from streams.query.fetch import NetworkFetch
from streams.query.fetch_outbox import OutboxReport
from streams.records import Post
from streams.settings import Settings, load_settings
from tests.fetch_support import opened, question, table
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture
from tests.integration.support import TIMEOUT_S, records
from tests.source_servers.bluesky import BlueskySearchServer
from tests.waiting import until


@pytest.fixture
async def bluesky() -> AsyncIterator[BlueskySearchServer]:
    async with BlueskySearchServer(start=datetime.now(UTC) - timedelta(minutes=30)) as server:
        yield server


@pytest.fixture
def fetching(env: dict[str, str], settings: Settings, bluesky: BlueskySearchServer, tmp_path: Path) -> Settings:
    sources = tmp_path / "sources.toml"
    sources.write_text(table("bluesky", bluesky.url))
    add_keywords(settings, ["rain"])
    return load_settings(env_file=None, environ={**env, "EMOSTREAM_QUERY_SOURCES": str(sources)})


def outbox(fetch: NetworkFetch) -> OutboxReport:
    return fetch.report().outbox


async def answered(fetch: NetworkFetch, keyword: str) -> int:
    """Returns how many posts an answer has. No server but the network's is needed for it."""
    fetched = await fetch(question(keyword), Deadline(TIMEOUT_S))
    assert fetched is not None
    assert (fetched.complete, fetched.notes) == (True, ())
    return fetched.posts


def raw_posts(settings: Settings) -> list[Post]:
    return [Post.from_json(value) for _, _, value in records(settings, settings.topic_raw)]


async def test_kafka_goes_away_and_comes_back(
    own_stack: LocalStack,
    fetching: Settings,
    bluesky: BlueskySearchServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ids = [bluesky.add(f"coffee {number}") for number in range(5)]
    async with opened(fetching) as before:
        assert await answered(before, "coffee") == 5
        await until(lambda: outbox(before).sent == 5, what="the posts are not sent")
        own_stack.signal("kafka", signal.SIGKILL)
        ids += [bluesky.add(f"tea, rain {number}") for number in range(7)]
        ids += [bluesky.add(f"milk, rain {number}") for number in range(9)]
        assert await answered(before, "tea") == 7
        assert outbox(before).kept == 7
        # A process that starts meanwhile does not know the live keywords, and answers too.
        async with opened(fetching) as meanwhile:
            assert await answered(meanwhile, "milk") == 9
            await until(lambda: outbox(meanwhile).problem is not None, what="no problem is reported")
            assert outbox(meanwhile).kept == 9
            await asyncio.to_thread(own_stack.start, "kafka")
            for fetch in (before, meanwhile):
                await until(lambda fetch=fetch: outbox(fetch).kept == 0, what="the posts are not sent")  # type: ignore[misc]
                assert outbox(fetch).lost == 0
    posts = raw_posts(fetching)
    assert sorted(post.id for post in posts) == sorted(ids)
    assert {tuple(post.keywords) for post in posts} == {("coffee",), ("tea", "rain"), ("milk", "rain")}

    # It goes away again, and the process stops before it is back.
    monkeypatch.setattr(fetch_module, "CLOSE_S", 0.1)
    async with opened(fetching) as last:
        await until(lambda: outbox(last).problem is None, what="it has not begun")
        own_stack.signal("kafka", signal.SIGKILL)
        bluesky.add("cocoa")
        assert await answered(last, "cocoa") == 1
    assert "1 post of fetches is lost, because this process stops" in caplog.text
    await asyncio.to_thread(own_stack.start, "kafka")


@pytest.mark.parametrize(("server", "named"), [("postgres", "PostgreSQL"), ("redis", "Redis")])
async def test_nothing_is_sent_while_nobody_knows_what_was_sent(
    own_stack: LocalStack, fetching: Settings, bluesky: BlueskySearchServer, server: str, named: str
) -> None:
    ids = [bluesky.add(f"coffee {number}") for number in range(5)]
    async with opened(fetching) as fetch:
        own_stack.stop(server)
        assert await answered(fetch, "coffee") == 5
        await until(lambda: named in (outbox(fetch).problem or ""), what="no problem is reported")
        assert outbox(fetch).kept == 5
        await asyncio.to_thread(own_stack.start, server)
        await until(lambda: outbox(fetch).kept == 0, what="the posts are not sent")
    assert sorted(post.id for post in raw_posts(fetching)) == sorted(ids)
