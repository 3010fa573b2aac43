"""The source of feeds, against a local server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors.errors import RejectedError
from connectors.sources.rss import RssOptions, RssSource
from connectors.sources.rss.source import MAX_FEEDS
from connectors.sources.rss.state import feed_key
from tests.source_servers.feed_reading import FAST, NOON, READ, UNCHANGED, entry, page, source
from tests.source_servers.feeds import FeedServer, item, rss
from tests.source_servers.http import Reply
from tests.source_servers.reading import Killed, reading

STATE = f'{{"v":1,"feeds":{{"{feed_key("https://e.example/")}":%s}}}}'


async def test_what_was_there_before_is_not_new() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(2, 1))
        async with reading(source(url)) as found:
            await found.detail(READ)
            server.put("/feed", page(4, 3, 2, 1))
            await found.texts("entry 3", "entry 4")
            await found.detail(UNCHANGED)
    assert found.post_texts == ["entry 3", "entry 4"]  # the oldest first
    post = found.posts[0]
    assert (post.created_at, post.url, post.lang) == (NOON + timedelta(minutes=3), "https://e.example/3", "en-us")
    assert found.gaps == []


async def test_history_is_yielded_with_its_own_times_if_asked_for() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", rss([entry(2), item("undated"), entry(1)]))
        async with reading(source(url, history=True)) as found:
            await found.detail(READ)
    # An entry without a date would count as now, and it may be years old.
    assert [(post.text, post.created_at) for post in found.posts] == [
        ("entry 1", NOON + timedelta(minutes=1)),
        ("entry 2", NOON + timedelta(minutes=2)),
    ]


async def test_entries_without_a_date_or_of_the_future_are_of_now() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1))
        async with reading(source(url)) as found:
            await found.detail(READ)
            before = datetime.now(UTC)
            future = item("future", date=before + timedelta(days=1))
            server.put(
                "/feed", rss([item("undated"), item("no zone", date="Sun, 01 Mar 2026 10:00:00"), future, entry(1)])
            )
            await found.texts("undated", "no zone", "future")
    assert all(before <= post.created_at <= datetime.now(UTC) for post in found.posts)


async def test_an_edit_keeps_the_id() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1))
        async with reading(source(url)) as found:
            await found.detail(READ)
            server.put("/feed", page(2, 1))
            await found.texts("entry 2")
            server.put("/feed", rss([entry(2, "entry 2, edited"), entry(1)]))
            await found.texts("entry 2, edited")
    first, edited = found.posts
    assert (edited.id, edited.created_at, edited.edited) == (first.id, first.created_at, True)


async def test_validators_are_stored_only_after_the_entries() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1), {"ETag": '"a"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"})
        async with reading(source(url)) as found:
            await found.detail(UNCHANGED)
            server.put("/feed", page(3, 2, 1), {"ETag": '"b"'})
            await found.texts("entry 3")
            await found.detail(READ, 2)
        after_two = next(one for one in found.events if one.event is found.posts[0])
        async with reading(source(url), after_two.cursor) as again:
            await again.texts("entry 3")
        assert again.post_texts == ["entry 3"]
        count = len(server.requests)
        async with reading(source(url), found.cursor) as third:
            await third.detail(UNCHANGED)
    conditions = [request.headers.get("if-none-match") for request in server.requests]
    assert conditions[:2] == [None, '"a"']
    assert server.requests[1].headers["if-modified-since"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    assert conditions[count] == '"b"'
    assert third.posts == []


async def test_the_server_is_asked_no_more_often_than_it_wants() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1), {"Cache-Control": "max-age=3600"})
        slow = replace(FAST, most_s=86_400.0)
        async with reading(source(url, schedule=slow)) as found:
            await found.detail(READ)
            cursor = found.cursor
        async with reading(source(url, schedule=slow), cursor) as again:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await again.until(lambda: len(server.requests) > 1)
    (state,) = json.loads(cursor or "")["feeds"].values()
    assert 3_500 < state["d"] - datetime.now(UTC).timestamp() <= 3_600


async def test_a_gap_is_reported_if_no_entry_is_left_of_the_last_document() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(2, 1))
        async with reading(source(url)) as found:
            await found.detail(READ)
            server.put("/feed", page(9, 8))
            await found.texts("entry 9")
        (gap,) = found.gaps
        before = [one for one in found.events if one.event is gap or one.event is found.posts[0]]
        assert [one.event for one in before] == [gap, found.posts[0]]
        for one in before:
            async with reading(source(url), one.cursor) as again:
                await again.texts("entry 9")
            assert again.gaps == []
    assert [gap.since, gap.until] == [NOON + timedelta(minutes=2), NOON + timedelta(minutes=8)]
    assert gap.partial  # another feed may have had entries meanwhile


async def test_the_entry_of_two_feeds_is_one_post() -> None:
    async with FeedServer() as server:
        urls = [server.put(path, page(1)) for path in ("/all", "/cats")]
        async with reading(source(*urls)) as found:
            await found.detail(READ, 2)
            server.put("/all", page(3, 2, 1))
            await found.texts("entry 3")
        server.put("/cats", page(3, 1))
        async with reading(source(*urls), found.cursor) as again:
            await again.detail("another feed has the entry")
            server.put("/cats", page(4, 3, 1))
            await again.texts("entry 4")
    assert [*found.post_texts, *again.post_texts] == ["entry 2", "entry 3", "entry 4"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "[]", "{}", '{"v":2,"feeds":{}}', '{"v":1,"feeds":7}', STATE % "[]", STATE % '{"k":1}']
)
async def test_a_wrong_cursor_is_rejected(cursor: str) -> None:
    async with reading(source("https://e.example/"), cursor) as found:
        assert isinstance(await found.error(), RejectedError)


async def test_a_damaged_state_is_rejected() -> None:
    async with FeedServer() as server:
        url = server.put("/feed", page(1))
        async with reading(source(url)) as found:
            await found.detail(READ)
        damaged = (found.cursor or "").replace('"k":"', '"k":"AAAA')
        async with reading(source(url), damaged) as again:
            assert isinstance(await again.error(), RejectedError)


def test_the_number_of_feeds_is_limited() -> None:
    for feeds in ((), tuple(f"https://e.example/{number}" for number in range(MAX_FEEDS + 1))):
        with pytest.raises(RejectedError):
            RssSource(RssOptions(feeds=feeds))


async def test_the_largest_cursor_fits_into_a_record() -> None:
    async with FeedServer() as server:
        body = page(*range(300))
        urls = [server.put(f"/{number}", body) for number in range(2)]
        async with reading(source(*urls)) as found:
            await found.detail(READ, 2)
            for url in ("/0", "/1"):
                server.put(url, page(*range(250, 550)))
            await found.detail(READ, 4)
    assert len(found.cursor or "") / len(urls) * MAX_FEEDS < 1_000_000


async def test_nothing_is_missing_after_twenty_kills() -> None:
    """Each feed has another fault: guids that change, guids and links that are shared, none at all."""

    def documents(newest: int) -> dict[str, bytes]:
        numbers = range(newest, newest - 9, -1)
        at = {number: NOON + timedelta(minutes=number) for number in numbers}
        return {
            "/good": page(*numbers),
            "/changing": rss(
                item(f"changing {n}", guid=f"s:{newest}:{n}", link=f"https://c.example/{n}", date=at[n])
                for n in numbers
            ),
            "/shared": rss(item(f"shared {n}", guid="x", link="https://s.example/", date=at[n]) for n in numbers),
            "/missing": rss(item(f"missing {n}") for n in numbers),
        }

    newest = 20
    async with FeedServer() as server:
        urls = [server.put(path, body) for path, body in documents(newest).items()]
        killed = Killed(seed=23)
        async with reading(source(*urls)) as found:
            await found.detail(READ, 4)
        killed.cursor = found.cursor
        wanted: set[str] = set()
        for _ in range(20):
            more = killed.random.randint(0, 4)
            for number in range(newest + 1, newest + more + 1):
                wanted |= {f"{kind} {number}" for kind in ("entry", "changing", "shared", "missing")}
            newest += more
            for path, body in documents(newest).items():
                server.put(path, body)
            if killed.random.random() < 0.5:
                server.fail("/", killed.random.choice([Reply(200, page(1), cut=30), Reply(500)]))
            await killed.life(source(*urls), 20, idle=UNCHANGED)
            # Each feed is read before its next document, so that no entry comes and goes in between.
            start = len(server.requests)
            async with reading(source(*urls), killed.cursor) as found:
                await found.until(lambda: all(server.paths()[start:].count(path) > 2 for path in documents(0)))  # noqa: B023
            killed.keep(found)
            killed.cursor = found.cursor
    ids = {post.text: {other.id for other in killed.posts if other.text == post.text} for post in killed.posts}
    assert set(ids) == wanted
    assert all(len(found) == 1 for found in ids.values())
    assert len(set.union(*ids.values())) == len(wanted)
    assert killed.gaps == []
