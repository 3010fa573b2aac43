"""Fetches from servers on sockets: shares, deadlines, networks that fail, and a model that fails."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from models.errors import ModelError, OverloadedError
from streams.classification.texts import Failed, TextResult
from streams.ingest.keywords.matcher import Matcher
from streams.query import fetch as fetch_module
from streams.query import fetch_search
from streams.query.fetch import open_fetch
from streams.query.fetch_metrics import FetchMetrics
from streams.query.sums import LabelSum
from streams.records import ModelRef
from tests.fetch_support import ENGLISH, MODEL, World, classify, metric, question, table
from tests.settings_support import load
from tests.source_servers.bluesky import BlueskySearchServer
from tests.source_servers.hackernews import HackerNewsServer
from tests.source_servers.http import Reply, Request
from tests.source_servers.reddit import CLIENT_ID, CLIENT_SECRET, RedditServer
from tests.source_servers.x import TOKEN, XServer

LONG_S = 60.0
"""A deadline that is never reached."""

SHORT_S = 4.0
"""A deadline that is reached, because something waits for ever. Loopback servers answer within it."""


class Silent(BlueskySearchServer):
    """Takes requests, and never answers."""

    async def answer(self, request: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError


async def test_posts_of_all_networks_are_counted_and_sent(tmp_path: Path) -> None:
    async with BlueskySearchServer() as bluesky, HackerNewsServer() as hackernews:
        ids = [bluesky.add("a sad coffee", tags=("rain",)), bluesky.add("coffee!"), bluesky.add("tea")]
        ids.append(f"hackernews:{hackernews.add('hot coffee')}")
        hackernews.add("coffeehouse")  # its search finds it
        toml = table("bluesky", bluesky.url) + table("hackernews", hackernews.url)
        async with World(tmp_path, toml, live=lambda: Matcher(["rain"])) as world:
            fetched = await world.fetch(question(), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.complete, fetched.notes) == (3, True, ())
            assert fetched.sums.labels == {"sadness": LabelSum(1, 0.75), "joy": LabelSum(2, 1.5)}
            assert fetched.sums.sentiments == {"negative": 1, "positive": 2}
            assert fetched.sums.sentiment_score == 0.5
            await world.raw.until(lambda: len(world.raw.marked) == 3)
            del ids[2]
            assert sorted(world.raw.ids) == sorted(ids)
            assert fetched.since == min(post.created_at for post in world.raw.posts)
            by_id = {post.id: post for post in world.raw.posts}
            assert tuple(by_id[ids[0]].keywords) == ("coffee", "rain")
            assert by_id[ids[0]].lang == "en"
            assert world.searched("bluesky", "complete") == world.searched("hackernews", "complete") == 1
            assert metric(world.metrics, "_posts_refused_total", source="hackernews", reason="no_keyword") == 1
            assert metric(world.metrics, "es_total", result="complete") == 1


@pytest.mark.parametrize(("limit", "of_bluesky", "of_hackernews"), [(20, 10, 10), (60, 48, 12), (100, 50, 12)])
async def test_each_network_has_a_fair_share_and_one_fills_up(
    tmp_path: Path, limit: int, of_bluesky: int, of_hackernews: int
) -> None:
    async with BlueskySearchServer() as bluesky, HackerNewsServer() as hackernews:
        for number in range(50):
            bluesky.add(f"coffee {number}")
        for number in range(12):
            hackernews.add(f"coffee {number}")
        toml = table("bluesky", bluesky.url) + table("hackernews", hackernews.url)
        async with World(tmp_path, toml) as world:
            fetched = await world.fetch(question(limit=limit), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.complete) == (of_bluesky + of_hackernews, True)
            await world.raw.until(lambda: len(world.raw.marked) == fetched.posts)
    found = Counter(post.source for post in world.raw.posts)
    assert found == {"bluesky": of_bluesky, "hackernews": of_hackernews}


async def test_x_and_reddit_are_searched_in_their_own_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X_BEARER_TOKEN", TOKEN)
    monkeypatch.setenv("REDDIT_CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("REDDIT_CLIENT_SECRET", CLIENT_SECRET)
    async with XServer() as x, RedditServer() as reddit:
        x.post("an iced coffee")
        x.post("#icedcoffee now")
        x.post("coffee with ice")
        reddit.submission("iced coffee?")
        toml = f"""
            x = {{endpoint = '{x.url}', allow_private = true}}
            reddit = {{endpoint = '{reddit.url}', allow_private = true, subreddits = ['coffee']}}
        """
        async with World(tmp_path, toml) as world:
            fetched = await world.fetch(question("iced coffee"), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.notes) == (3, ())
            await world.raw.until(lambda: len(world.raw.marked) == 3)
    assert Counter(post.source for post in world.raw.posts) == {"x": 2, "reddit": 1}


async def test_a_slow_network_makes_a_partial_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Silent() as slow, HackerNewsServer() as hackernews:
        for number in range(30):
            hackernews.add(f"coffee {number}")
        toml = table("bluesky", slow.url) + table("hackernews", hackernews.url)
        async with World(tmp_path, toml) as world:
            fetched = await world.fetch(question(), Deadline(SHORT_S))
            assert fetched is not None
            assert (fetched.posts, fetched.complete) == (30, False)
            assert fetched.notes == ("Posts may be missing: bluesky did not answer in time.",)
            assert world.searched("bluesky", "deadline") == 1
            # If the others have enough posts, they do not wait for it, and nothing is missing.
            monkeypatch.setattr(fetch_search, "PATIENCE_SHARE", 0.001)
            fetched = await world.fetch(question(limit=30), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.complete, fetched.notes) == (30, True, ())


async def test_a_network_that_asks_to_wait_is_not_asked_before_its_time(tmp_path: Path) -> None:
    async with BlueskySearchServer() as bluesky, HackerNewsServer() as hackernews:
        hackernews.add("coffee")
        bluesky.fail("/xrpc", Reply(429, headers={"Retry-After": "3600"}))
        toml = table("bluesky", bluesky.url) + table("hackernews", hackernews.url)
        async with World(tmp_path, toml) as world:
            first = await world.fetch(question(), Deadline(LONG_S))
            second = await world.fetch(question("rain"), Deadline(LONG_S))
            assert first is not None
            assert second is not None
            assert (first.posts, first.complete, second.posts, second.complete) == (1, False, 0, False)
            assert "it asks to wait for 3600 s" in first.notes[0]
            assert second.notes[0].startswith(
                "Posts may be missing: bluesky was not searched: it has asked to wait for 3"
            )
            assert len(bluesky.requests) == 1
            assert world.searched("bluesky", "rate_limited") == world.searched("bluesky", "waiting") == 1
            assert list(world.fetch.report().waits_s) == ["bluesky"]


async def test_a_network_that_fails_is_asked_again(tmp_path: Path) -> None:
    async with BlueskySearchServer() as bluesky:
        bluesky.add("coffee")
        bluesky.fail("/xrpc", Reply(500), Reply(403))
        async with World(tmp_path, table("bluesky", bluesky.url)) as world:
            for problem in ("answered 500", "access is forbidden"):
                with pytest.raises(UnavailableError, match=f"no source can be searched: bluesky failed: .*{problem}"):
                    await world.fetch(question(), Deadline(LONG_S))
            fetched = await world.fetch(question(), Deadline(LONG_S))
            assert fetched is not None
            assert fetched.posts == 1
            assert world.searched("bluesky", "unavailable") == world.searched("bluesky", "rejected") == 1
            assert metric(world.metrics, "es_total", result="failed") == 2


async def test_what_is_classified_by_the_deadline_counts_and_all_is_sent(tmp_path: Path) -> None:
    calls = 0

    async def stuck(texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        nonlocal calls
        calls += 1
        if calls > 1:
            await asyncio.Event().wait()
        return await classify(texts, stated)

    async with HackerNewsServer() as hackernews:
        for number in range(70):
            hackernews.add(f"coffee {number}")
        async with World(tmp_path, table("hackernews", hackernews.url), model=stuck) as world:
            fetched = await world.fetch(question(), Deadline(SHORT_S))
            assert fetched is not None
            assert 0 < fetched.posts < 70
            assert fetched.complete is False
            assert fetched.notes == (f"Only {fetched.posts} of 70 posts were classified in time.",)
            await world.raw.until(lambda: len(world.raw.marked) == 70)
            assert metric(world.metrics, "_posts_unclassified_total", cause="deadline") == 70 - fetched.posts


async def test_posts_that_the_model_cannot_classify_or_read(tmp_path: Path) -> None:
    async def mixed(texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        found: dict[str, Failed | ModelRef] = {"bad": Failed("no"), "foreign": MODEL}
        good = await classify(texts, stated)
        return [
            TextResult(ENGLISH, found.get(text.split()[0], one.found)) for text, one in zip(texts, good, strict=True)
        ]

    async with HackerNewsServer() as hackernews:
        for text in ("bad coffee", "foreign coffee", "coffee", "coffee, please"):
            hackernews.add(text)
        async with World(tmp_path, table("hackernews", hackernews.url), model=mixed) as world:
            fetched = await world.fetch(question(), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.sums.count, fetched.sums.unsupported) == (3, 2, 1)
            assert (fetched.complete, fetched.notes) == (False, ("The model could not classify 1 post.",))


async def test_a_model_that_fails(tmp_path: Path) -> None:
    failures = [ModelError("the model is broken")]

    async def failing(texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        if failures:
            raise failures[0]
        return await classify(texts, stated)

    async with HackerNewsServer() as hackernews:
        hackernews.add("coffee")
        async with World(tmp_path, table("hackernews", hackernews.url), model=failing) as world:
            with pytest.raises(ModelError, match="the model is broken"):
                await world.fetch(question(), Deadline(LONG_S))
            # The posts are counted by the windows all the same.
            await world.raw.until(lambda: len(world.raw.marked) == 1)
            failures.clear()
            fetched = await world.fetch(question(), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.complete) == (1, True)


async def test_posts_wait_while_too_many_texts_of_others_wait(tmp_path: Path) -> None:
    refusals = [OverloadedError("too many texts wait", 0.001)] * 3

    async def busy(texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        if refusals:
            raise refusals.pop()
        return await classify(texts, stated)

    async with HackerNewsServer() as hackernews:
        for number in range(40):
            hackernews.add(f"coffee {number}")
        async with World(tmp_path, table("hackernews", hackernews.url), model=busy) as world:
            fetched = await world.fetch(question(), Deadline(LONG_S))
            assert fetched is not None
            assert (fetched.posts, fetched.complete, refusals) == (40, True, [])


async def test_a_caller_that_goes_away_loses_no_post(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def stuck(texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with HackerNewsServer() as hackernews:
        number = hackernews.add("coffee")
        async with World(tmp_path, table("hackernews", hackernews.url), model=stuck) as world:
            caller = asyncio.create_task(world.fetch(question(), Deadline(LONG_S)))
            await started.wait()
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            await world.raw.until(lambda: world.raw.marked == [f"hackernews:{number}"])


async def test_more_fetches_than_a_process_runs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "MOST_AT_ONCE", 1)
    async with Silent() as slow, World(tmp_path, table("bluesky", slow.url)) as world:
        first = asyncio.create_task(world.fetch(question(), Deadline(LONG_S)))
        await world.raw.until(lambda: len(slow.requests) == 1)
        with pytest.raises(UnavailableError, match="too many searches"):
            await world.fetch(question("rain"), Deadline(0.01))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_keyword_that_no_network_can_search(tmp_path: Path) -> None:
    async with BlueskySearchServer() as bluesky, World(tmp_path, table("bluesky", bluesky.url)) as world:
        assert await world.fetch(question("*"), Deadline(LONG_S)) is None
        assert bluesky.requests == []


async def test_without_a_source_nothing_is_fetched() -> None:
    async with open_fetch(load(), classify, FetchMetrics(CollectorRegistry())) as fetch:
        assert fetch is None


async def test_its_health_says_that_posts_wait_and_why(tmp_path: Path) -> None:
    async with HackerNewsServer() as hackernews:
        hackernews.add("coffee")
        async with World(tmp_path, table("hackernews", hackernews.url)) as world:
            await world.fetch.check()
            world.raw.failures["known"] = [UnavailableError("Redis did not answer")] * 1_000
            assert await world.fetch(question(), Deadline(LONG_S)) is not None
            await world.raw.until(lambda: world.fetch.report().outbox.problem is not None)
            with pytest.raises(UnavailableError, match=r"^1 post to be sent: Redis did not answer$"):
                await world.fetch.check()
