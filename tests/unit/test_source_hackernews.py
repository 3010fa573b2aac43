"""The source of Hacker News, against a local server with its API."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import SkipReason, SourcePost, SourceSkipped
from connectors.sources.hackernews import HackerNewsOptions, HackerNewsSource
from connectors.sources.hackernews.absent import MOST, Absent, read_cursor, write_cursor
from connectors.sources.hackernews.items import event_of
from connectors.sources.protocol import RateLimitError, SearchableSource
from tests.source_servers.hackernews import START, HackerNewsServer
from tests.source_servers.http import Reply
from tests.source_servers.reading import Killed, reading

NOW = datetime.fromtimestamp(START + 10_000, UTC)
ROUND = "all items have been read"


def source(server: HackerNewsServer, **changes: object) -> HackerNewsSource:
    options = HackerNewsOptions(
        endpoint=server.url,
        search_endpoint=server.url,
        interval_s=0.01,
        changes_s=0.0,
        absent_s=1e9,
        allow_private=True,
    )
    return HackerNewsSource(replace(options, **changes))  # type: ignore[arg-type]


async def test_items_come_in_the_order_of_their_numbers() -> None:
    async with HackerNewsServer() as server:
        server.add("before the start")
        async with reading(source(server)) as found:
            await found.detail(ROUND)
            number = server.add("Ask HN: Why &amp; how?", kind="story")
            server.change(number, text="<i>Tea</i> &gt; cake<p>Second paragraph")
            wanted = [server.add(f"comment {n}") for n in range(60)]
            await found.texts("comment 59")
    story, *comments = found.posts
    assert story.text == "Ask HN: Why & how?\nTea > cake\n\nSecond paragraph"
    assert (story.id, story.author) == (str(number), "norvig")
    assert story.url == f"https://news.ycombinator.com/item?id={number}"
    assert story.created_at == datetime.fromtimestamp(START + number, UTC)
    assert [post.id for post in comments] == [str(number) for number in wanted]


async def test_a_cursor_is_the_number_of_an_item() -> None:
    async with HackerNewsServer() as server:
        for number in range(70):
            server.add(f"comment {number}")
        async with reading(source(server), "1010") as found:
            await found.detail(ROUND)
    assert [post.id for post in found.posts] == [str(number) for number in range(1_011, 1_071)]
    assert found.cursor == "1070"


async def test_items_that_are_no_posts_are_skipped_with_a_reason() -> None:
    async with HackerNewsServer() as server, reading(source(server, max_bytes=20_000)) as found:
        await found.detail(ROUND)
        server.add("A job", kind="job")
        server.add("killed", dead=True)
        server.delete(server.add("deleted"))
        server.add("")
        server.add("x" * 30_000)
        server.add("no time", time="soon")
        server.add("no number", id=None)
        server.fail(f"/v0/item/{server.newest + 1}", *[Reply(200, b"{oops")] * 3)
        server.add("not JSON")
        server.add("good")
        await found.texts("good")
    assert found.post_texts == ["no time", "good"]  # without a time, it is of now
    assert len(found.reasons(SkipReason.REMOVED)) == 2
    assert len(found.reasons(SkipReason.EMPTY_TEXT)) == 1
    assert len(found.reasons(SkipReason.TOO_LARGE)) == 1
    assert len(found.reasons(SkipReason.UNREADABLE)) == 2
    assert "an item of another type" in found.reasons(SkipReason.NOT_A_POST)


async def test_an_item_that_is_not_shown_yet_comes_later() -> None:
    async with HackerNewsServer() as server:
        async with reading(source(server)) as found:
            await found.detail(ROUND)
            hidden = server.hide()
            server.add("after")
            await found.texts("after")
            await found.detail(ROUND, 3)
        assert found.cursor == f"{server.newest};{hidden}"
        server.change(hidden, id=hidden, type="comment", by="slow", time=START, text="delayed")
        async with reading(source(server), found.cursor) as again:
            await again.texts("delayed")
            await again.detail(ROUND)
    assert again.cursor == str(server.newest)
    assert [(post.id, post.edited) for post in again.posts] == [(str(hidden), False)]


async def test_an_item_that_is_not_shown_for_long_is_given_up() -> None:
    async with HackerNewsServer(start=int(time.time()) - 1_000) as server:
        async with reading(source(server, absent_s=60.0)) as found:
            await found.detail(ROUND)
            server.hide()
            server.add("no time that exists", time=10**400)
            server.add("old", time=int(time.time()) - 3_600)
            await found.texts("old")
            await found.detail(ROUND, 2)
            assert found.cursor == str(server.newest)
        async with reading(source(server, absent_s=0.05)) as found:
            await found.detail(ROUND)
            server.hide()
            await found.detail("not shown yet")
            await found.detail("no such item")
    assert found.reasons(SkipReason.REMOVED) == ["there is no such item"]


async def test_an_api_that_shows_nothing_skips_nothing() -> None:
    async with HackerNewsServer() as server:
        numbers = [server.add(f"comment {number}") for number in range(60)]
        items, server.items = server.items, {}
        async with reading(source(server), "1000") as found:
            assert isinstance(await found.error(), UnavailableError)
        server.items = items
        async with reading(source(server), found.cursor) as again:
            await again.detail(ROUND)
    assert [int(post.id) for post in again.posts] == numbers


async def test_edits_and_deletions_are_told_once() -> None:
    async with HackerNewsServer() as server:
        old = server.add("from before")
        async with reading(source(server)) as found:
            await found.detail(ROUND)
            number, other = server.add("first"), server.add("other")
            await found.texts("other")
            server.change(number, text="first, edited")
            server.change(other, kids=[1, 2])
            await found.texts("first, edited")
            server.delete(number)
            server.delete(old)
            await found.until(lambda: len(found.deletions) == 2)
            await found.detail(ROUND, 20)
    assert [(post.text, post.edited) for post in found.posts] == [
        ("first", False),
        ("other", False),
        ("first, edited", True),
    ]
    assert found.posts[0].id == found.posts[2].id == str(number)
    assert sorted(found.deletions, key=str) == [str(old), str(number)]


@pytest.mark.parametrize(
    ("path", "reply", "kind", "wait"),
    [
        ("/v0/maxitem", Reply(429, headers={"Retry-After": "7"}), RateLimitError, 7.0),
        ("/v0/maxitem", Reply(429), RateLimitError, None),
        ("/v0/maxitem", Reply(503), UnavailableError, None),
        ("/v0/maxitem", Reply(200, b"null"), UnavailableError, None),
        ("/v0/maxitem", Reply(200, b"{"), UnavailableError, None),
        ("/v0/item/1002", Reply(500), UnavailableError, None),
        ("/v0/item/1002", Reply(200, b'{"id"', cut=3), UnavailableError, None),
        ("/v0/item/1002", Reply(401), RejectedError, None),
        ("/v0/updates", Reply(502), UnavailableError, None),
    ],
)
async def test_failures_have_their_class(path: str, reply: Reply, kind: type[Exception], wait: float | None) -> None:
    async with HackerNewsServer() as server:
        for number in range(3):
            server.add(f"comment {number}")
        server.fail(path, reply)
        async with reading(source(server), "1000") as found:
            error = await found.error()
        assert isinstance(error, kind)
        assert getattr(error, "retry_after_s", None) == wait
        async with reading(source(server), found.cursor or "1000") as again:
            await again.detail(ROUND)
    assert {post.id for post in (*found.posts, *again.posts)} == {"1001", "1002", "1003"}


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1;", "1;x", "1;2,", "1 ", "1" * 16, "٣"])
async def test_a_wrong_cursor_is_rejected(cursor: str) -> None:
    async with HackerNewsServer() as server, reading(source(server), cursor) as found:
        assert isinstance(await found.error(), RejectedError)


async def test_the_search_yields_the_newest_first() -> None:
    async with HackerNewsServer() as server:
        for number in range(250):
            server.add(f"tea {number}" if number % 2 else "coffee", time=START + number // 8)
        found = source(server)
        assert isinstance(found, SearchableSource)
        everything = [post async for post in found.search("tea")]
        some = [post async for post in found.search("tea", since=datetime.fromtimestamp(START + 20, UTC))]
        few = [post async for post in found.search("tea", limit=7)]
        nothing = [post async for post in found.search("water")]
        await found.close()
    assert len(everything) == len({post.id for post in everything}) == 125
    times = [post.created_at for post in everything]
    assert times == sorted(times, reverse=True)
    assert {post.id for post in some} == {post.id for post in everything if post.created_at.timestamp() >= START + 20}
    assert [post.id for post in few] == [post.id for post in everything[:7]]
    assert nothing == []


async def test_nothing_is_missing_after_twenty_kills() -> None:
    async with HackerNewsServer() as server:
        killed = Killed(seed=23)
        killed.cursor = str(server.newest)
        wanted, hidden = set(), []
        for life in range(20):
            for number in range(killed.random.randint(0, 12)):
                if killed.random.random() < 0.1:
                    hidden.append(server.hide())
                else:
                    wanted.add(str(server.add(f"{life}.{number}")))
            if hidden and killed.random.random() < 0.5:
                shown = hidden.pop(0)
                wanted.add(str(shown))
                server.change(shown, id=shown, type="comment", by="slow", time=START, text="delayed")
            if killed.random.random() < 0.3:
                server.fail("/v0/item", Reply(500))
            await killed.life(source(server), 20, idle=ROUND)
        async with reading(source(server), killed.cursor) as found:
            await found.detail(ROUND)
    posts = [*killed.posts, *found.posts]
    assert {post.id for post in posts} == wanted
    assert killed.gaps == []


@given(st.lists(st.integers(0, 10**9), unique=True, max_size=300), st.integers(0, 10**9))
def test_a_cursor_is_read_as_it_was_written(items: list[int], last: int) -> None:
    absent = Absent(items, 0.0)
    given_up = absent.given_up(before=-1.0)
    assert len(absent.items) <= MOST
    assert [*given_up, *absent.items] == items
    assert read_cursor(write_cursor(last, absent.items)) == (last, list(absent.items))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_any_json_is_an_event(value: object) -> None:
    item = {"id": value, "type": "comment", "text": value, "by": value, "time": value}
    for one in (value, item, {**item, "id": 5}, {**item, "id": 5, "text": "x"}, {**item, "id": 5, "type": value}):
        assert isinstance(event_of(one, received_at=NOW), SourceSkipped | SourcePost)


def test_the_kinds_of_posts_are_an_option() -> None:
    job = {"id": 1, "type": "job", "title": "A job", "time": START}
    assert isinstance(event_of(job, received_at=NOW, kinds=frozenset({"job"})), SourcePost)
    with pytest.raises(RejectedError):
        HackerNewsSource(HackerNewsOptions(kinds=frozenset({"jobs"})))
