"""The source of Reddit, against a local server with its listings: what is new, and what is not there any more."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from connectors.errors import UnavailableError
from connectors.sources.events import SkipReason, SourceGap, SourcePost
from connectors.sources.net import TooLargeError
from connectors.sources.protocol import SearchableSource
from connectors.sources.reddit import RedditSource
from connectors.sources.reddit.heads import KEPT
from tests.source_servers.http import Reply, Request
from tests.source_servers.reading import Killed, reading
from tests.source_servers.reddit import RedditServer, at, base36, reddit_options

ROUND = "all listings have been read"
COMMENTS = "/r/coffee/comments"


def source(server: RedditServer, **changes: object) -> RedditSource:
    return RedditSource(replace(reddit_options(server), **changes))  # type: ignore[arg-type]


async def stopped(server: RedditServer, count: int = 1) -> str | None:
    """Reads some comments, and returns the cursor after them."""
    async with reading(source(server)) as found:
        await found.detail(ROUND)
        names = [server.comment(f"before the stop {number}") for number in range(count)]
        await found.until(lambda: len(found.posts) == len(names))
    return found.cursor


def texts(beginning: str, count: int) -> list[str]:
    return [f"{beginning} {number}" for number in range(count)]


async def test_comments_and_submissions_become_posts() -> None:
    async with RedditServer() as server:
        kinds = frozenset({"comments", "submissions"})
        async with reading(source(server, kinds=kinds)) as found:
            await found.detail(ROUND)
            comment = server.comment("Tea &amp; *cake* &amp;lt;3")
            submission = server.submission("Why < how?", "Nobody knows &#x200B;", author="[deleted]")
            await found.until(lambda: len(found.posts) == 2)
    # The first cursor has both listings: otherwise a kill would lose what one of them gets.
    assert [one.cursor is None for one in found.events[:2]] == [True, False]
    first, second = sorted(found.posts, key=lambda post: post.id)
    assert first == SourcePost(
        id=comment,
        text="Tea & *cake* &lt;3",
        created_at=at(server.newest - 1),
        author="someone",
        url=f"https://www.reddit.com/r/coffee/comments/abc/_/{comment[3:]}/",
        keywords=("coffee",),
    )
    assert (second.id, second.text, second.author) == (submission, "Why < how?\n\nNobody knows \u200b", None)
    assert all(query["raw_json"] == "1" for query in server.queries(COMMENTS))


async def test_what_is_no_post_is_skipped_once_with_a_reason() -> None:
    async with RedditServer() as server, reading(source(server)) as found:
        await found.detail(ROUND)
        server.comment("[deleted]", author="[deleted]")
        server.comment(" [removed] ")
        server.comment("  ")
        server.comment("no time", created_utc="soon")
        server.comment("no body", body=None)
        server.extra = [
            None,
            [],
            {"kind": "t1"},
            {"kind": "more", "data": {"id": "_"}},
            {"kind": "t1", "data": {"id": 7}},
        ]
        server.comment("good")
        await found.texts("good")
        await found.detail(ROUND, 10)
    assert found.post_texts == ["good"]
    assert len(found.reasons(SkipReason.REMOVED)) == 2
    assert len(found.reasons(SkipReason.EMPTY_TEXT)) == 1
    assert len(found.reasons(SkipReason.UNREADABLE)) == 6
    assert found.reasons(SkipReason.NOT_A_POST).count("an item of another kind") == 1


async def test_a_cursor_continues_behind_the_last_post() -> None:
    async with RedditServer() as server:
        cursor = await stopped(server, 15)
        wanted = texts("missed", 40)
        for text in wanted:
            server.comment(text)
        async with reading(source(server), cursor) as found:
            await found.detail(ROUND, 3)
    assert found.post_texts == wanted
    assert [one.at for one in found.events if isinstance(one.event, SourcePost)] == [p.created_at for p in found.posts]


async def test_a_cursor_works_after_its_items_were_deleted() -> None:
    async with RedditServer() as server:
        for text in texts("old", 120):
            server.comment(text)
        cursor = await stopped(server, 2 * KEPT)
        server.requests.clear()
        server.delete(*(f"t1_{base36(server.newest - number)}" for number in range(KEPT + 2)))
        wanted = texts("missed", 30)
        for text in wanted:
            server.comment(text)
        async with reading(source(server), cursor) as found:
            await found.detail(ROUND)
    assert found.post_texts == wanted
    assert found.gaps == []
    assert len(server.queries(COMMENTS)) == 1


async def test_more_than_a_page_is_read_back_page_by_page() -> None:
    async with RedditServer() as server:
        cursor = await stopped(server)
        server.requests.clear()
        wanted = texts("missed", 250)
        for text in wanted:
            server.comment(text)
        async with reading(source(server), cursor) as found:
            await found.detail(ROUND)
    assert found.post_texts == wanted
    assert found.gaps == []
    assert len(server.queries(COMMENTS)) == 3


async def test_an_item_that_is_deleted_between_two_pages_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RedditServer() as server:
        cursor = await stopped(server)
        names = [server.comment(text) for text in texts("missed", 150)]
        answer = server.answer

        async def deleting(request: Request) -> Reply:
            if request.query.get("after") == names[50] and names[50] not in deleted:
                deleted.append(names[50])
                server.delete(names[50])
            return await answer(request)

        deleted: list[str] = []
        monkeypatch.setattr(server, "answer", deleting)
        async with reading(source(server), cursor) as found:
            await found.detail(ROUND)
    assert deleted == [names[50]]
    assert found.post_texts == texts("missed", 150)
    assert found.gaps == []


async def test_a_listing_that_ends_too_early_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RedditServer() as server:
        cursor = await stopped(server)
        for text in texts("missed", 150):
            server.comment(text)
        empty = {"kind": "Listing", "data": {"children": [], "after": None}}
        answer = server.answer

        async def first_page(request: Request) -> Reply:
            if request.path == COMMENTS and "after" not in request.query:
                server.fail(COMMENTS, *[Reply(200, json.dumps(empty).encode())] * 3)
            return await answer(request)

        monkeypatch.setattr(server, "answer", first_page)
        async with reading(source(server), cursor) as failing:
            assert isinstance(await failing.error(), UnavailableError)
        monkeypatch.undo()
        async with reading(source(server), cursor) as found:
            await found.detail(ROUND)
    assert failing.events == []
    assert found.post_texts == texts("missed", 150)


async def test_a_hole_that_reddit_does_not_list_is_a_gap() -> None:
    async with RedditServer() as server:
        cursor = await stopped(server)
        last = server.newest
        for text in texts("missed", 1_205):
            server.comment(text)
        async with reading(source(server), cursor) as found:
            await found.until(lambda: bool(found.gaps))
        after_gap = found.events[0].cursor
        async with reading(source(server), after_gap) as again:
            await again.detail(ROUND, 2)
    assert isinstance(found.events[0].event, SourceGap)
    (gap,) = found.gaps
    assert (gap.since, gap.until, gap.partial) == (at(last), at(last + 206), True)
    assert again.post_texts == texts("missed", 1_205)[205:]
    assert again.gaps == []


async def test_a_listing_that_was_empty_has_no_gap() -> None:
    async with RedditServer() as server:
        server.children.clear()
        async with reading(source(server)) as found:
            await found.detail(ROUND)
        now = datetime.now(UTC).timestamp()
        for text in texts("first", 5):
            server.comment(text, created_utc=now + 10)
        async with reading(source(server), found.cursor) as again:
            await again.detail(ROUND, 2)
    assert again.post_texts == texts("first", 5)
    assert again.gaps == []


async def test_reordered_and_late_items_are_read_once() -> None:
    async with RedditServer() as server:
        late = server.newest + 1
        server.newest += 1
        for text in texts("old", 50):
            server.comment(text)
        server.shuffle = lambda page: [*page[:10][::-1], *page[:10], *page[10:]]
        async with reading(source(server)) as found:
            await found.detail(ROUND)
            for text in texts("new", 20):
                server.comment(text)
            await found.until(lambda: len(found.posts) >= 20)
            newest, server.newest = server.newest, late - 1
            server.comment("late")
            server.newest = newest
            await found.texts("late")
            await found.detail(ROUND, 10)
        async with reading(source(server), found.cursor) as again:
            await again.detail(ROUND, 2)
    assert found.post_texts == [*texts("new", 20), "late"]
    assert again.posts == []


async def test_edits_removals_and_approvals_are_seen() -> None:
    async with RedditServer() as server, reading(source(server)) as found:
        await found.detail(ROUND)
        name = server.comment("first")
        hidden = server.comment("[removed]")
        await found.texts("first")
        server.change(name, body="first, edited", edited=1_772_400_000.0)
        await found.texts("first, edited")
        server.change(name, body="[deleted]", author="[deleted]")
        server.change(hidden, body="approved")
        await found.texts("approved")
        await found.until(lambda: bool(found.deletions))
        await found.detail(ROUND, 10)
    assert [(post.text, post.edited) for post in found.posts] == [
        ("first", False),
        ("first, edited", True),
        ("approved", False),
    ]
    assert {post.id for post in found.posts} == {name, hidden}
    assert found.deletions == [name]


async def test_each_listing_has_its_own_place() -> None:
    async with RedditServer() as server:
        names = ("Coffee", "tea+coffee")
        async with reading(source(server, subreddits=names)) as found:
            await found.detail(ROUND)
            server.comment("one", subreddit="tea")
            server.comment("two")
            await found.until(lambda: len(found.posts) == 3)
        async with reading(source(server, subreddits=(*names, "tea")), found.cursor) as again:
            await again.detail(ROUND)
            server.comment("three", subreddit="tea")
            await again.until(lambda: len(again.posts) == 2)
    assert sorted(found.post_texts) == ["one", "two", "two"]
    assert again.post_texts == ["three", "three"]
    # A listing that is new begins before the others go on, because cursors have all listings.
    assert again.skipped[0].detail == "r/tea/comments has been read"
    assert again.events[0].cursor not in (None, found.cursor)
    assert {"/r/coffee/comments", "/r/tea+coffee/comments"} < set(server.paths())


async def test_a_page_that_is_too_large_is_read_in_parts() -> None:
    async with RedditServer() as server:
        cursor = await stopped(server)
        wanted = [f"{number} {'x' * 5_000}" for number in range(120)]
        for text in wanted:
            server.comment(text)
        async with reading(source(server, max_bytes=100_000), cursor) as found:
            await found.detail(ROUND)
        server.comment("x" * 200_000)
        async with reading(source(server, max_bytes=100_000), cursor) as failing:
            assert isinstance(await failing.error(), TooLargeError)
    assert found.post_texts == wanted


async def test_the_search_yields_the_newest_first() -> None:
    async with RedditServer() as server:
        for number in range(250):
            server.submission(f"tea {number}" if number % 2 else "cake", subreddit="tea" if number < 200 else "coffee")
        found = source(server, subreddits=("coffee", "tea"))
        assert isinstance(found, SearchableSource)
        everything = [post async for post in found.search("tea")]
        some = [post async for post in found.search("tea", since=at(server.newest - 100))]
        few = [post async for post in found.search("tea", limit=7)]
        await found.close()
        everywhere = source(server, subreddits=("all",))
        assert len([post async for post in everywhere.search("cake")]) == 125
        await everywhere.close()
    assert [post.text for post in everything] == [f"tea {number}" for number in range(249, 0, -2)]
    assert [post.id for post in some] == [post.id for post in everything if post.created_at >= at(server.newest - 100)]
    assert few == everything[:7]
    (query, *_) = server.queries("/r/coffee+tea/search")
    assert (query["sort"], query["restrict_sr"], query["q"]) == ("new", "true", "tea")
    assert "restrict_sr" not in server.queries("/search")[0]


async def test_nothing_is_missing_after_twenty_kills() -> None:
    async with RedditServer() as server:
        killed = Killed(seed=23)
        wanted: set[str] = set()
        kinds = frozenset({"comments", "submissions"})
        async with reading(source(server, kinds=kinds)) as found:
            await found.detail(ROUND)
        killed.cursor = found.cursor
        for life in range(20):
            for number in range(killed.random.randint(0, 60)):
                add = server.comment if killed.random.random() < 0.7 else server.submission
                wanted.add(add(f"{life}.{number}"))
            if killed.random.random() < 0.3:
                server.fail("/r/coffee", Reply(500))
            if killed.random.random() < 0.3:
                server.tokens.clear()
            await killed.life(source(server, kinds=kinds), 60, idle=ROUND)
        async with reading(source(server, kinds=kinds), killed.cursor) as found:
            await found.detail(ROUND)
    assert {post.id for post in (*killed.posts, *found.posts)} == wanted
    assert killed.gaps == []
