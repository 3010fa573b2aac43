"""Pages of recent posts by keyword and label, from a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import chain

import psycopg
import pytest
from psycopg.types.json import set_json_dumps
from pydantic_core import to_json

from connectors.deadline import Deadline
from connectors.errors import UnavailableError
from connectors.postgres_pool import PostgresPool
from streams.query.errors import QuestionError
from streams.query.history import HistoryReader
from streams.query.posts import Place, PostPage, RecentPost, RecentPosts
from streams.records import ClassifiedPost, Sentiment
from streams.settings import Settings
from streams.sink.targets import posts_of
from streams.windows.deltas import Entry
from streams.windows.store import WindowStore
from tests.helpers import NOON, NOON_MS, classified, for_counting, row_of
from tests.integration.answer_support import count, sink

MINUTE = 60_000
LATER = NOON + timedelta(hours=1)


@pytest.fixture
async def recent(settings: Settings) -> AsyncIterator[RecentPosts]:
    dsn = settings.postgres_dsn.get_secret_value()
    async with PostgresPool(dsn, application_name="test", read_only=True) as pool:
        yield RecentPosts(HistoryReader(pool), size=settings.window_sizes[0].seconds)


def write(settings: Settings, posts: Sequence[ClassifiedPost]) -> None:
    """Write posts to the history, as the sink does."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        set_json_dumps(to_json, connection)
        target, rows = posts_of("posts.raw"), [row_of(post) for post in posts]
        target.copy_to_staging(connection, rows)
        target.merge(connection, rows)


async def write_with_windows(settings: Settings, store: WindowStore, posts: Sequence[ClassifiedPost]) -> None:
    """Write posts and their windows to the history."""
    write(settings, posts)
    await count(store, settings, [Entry(number, for_counting(post)) for number, post in enumerate(posts)])
    await sink(store, settings)


def three_a_minute(minutes: int) -> list[ClassifiedPost]:
    """Returns posts with the keyword tea, three of one moment in each minute, which alternate in label."""
    return [
        classified(
            number,
            at=NOON_MS + number // 3 * MINUTE,
            keywords=["tea", f"word-{number}"],
            label="fear" if number // 3 % 2 else "joy",
        )
        for number in range(3 * minutes)
    ]


async def read(recent: RecentPosts, keyword: str, label: str | None = None, *, limit: int = 50, before: Place | None = None) -> PostPage:  # fmt: skip # noqa: E501
    return await recent.read(keyword, Deadline(30), label=label, limit=limit, before=before, now=LATER)


async def every_page(recent: RecentPosts, keyword: str, label: str | None, limit: int) -> list[list[RecentPost]]:
    pages, before = [], None
    while not pages or before is not None:
        page = await read(recent, keyword, label, limit=limit, before=before)
        pages.append(page.posts)
        before = None if page.next is None else Place.parse(str(page.next))
    return pages


@pytest.mark.parametrize("windows", [True, False])
async def test_pages_follow_each_other_without_a_gap_or_a_repetition(
    settings: Settings, store: WindowStore, recent: RecentPosts, windows: bool
) -> None:
    posts = three_a_minute(20)
    if windows:
        await write_with_windows(settings, store, posts)
    else:
        write(settings, posts)
    for keyword, label in (("tea", None), ("tea", "fear"), ("*", None), ("*", "joy"), ("word-7", None)):
        wanted = [
            post.id
            for post in reversed(posts)
            if (keyword == "*" or keyword in post.keywords) and label in {None, post.label}
        ]
        for limit in (1, 7, 500) if keyword == "tea" else (10,):
            pages = await every_page(recent, keyword, label, limit)
            assert [post.id for post in chain.from_iterable(pages)] == wanted
            assert {len(page) for page in pages[:-1]} <= {limit}


async def test_windows_whose_posts_are_not_there_yet_hide_no_older_posts(
    settings: Settings, store: WindowStore, recent: RecentPosts
) -> None:
    posts = three_a_minute(20)
    await write_with_windows(settings, store, posts)
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute("DELETE FROM posts WHERE created_at > %s", [NOON + timedelta(minutes=10)])
    page = await read(recent, "tea", limit=10)
    assert [post.created_at for post in page.posts[::3]] == [NOON + timedelta(minutes=ago) for ago in (10, 9, 8, 7)]


async def test_a_post_is_shown_with_all_that_is_known(settings: Settings, recent: RecentPosts) -> None:
    full = classified(0, keywords=["a|b", "tea"], sentiment=Sentiment(label="good", score=0.5), lang="en")
    write(settings, [full, classified(1, at=NOON_MS + MINUTE, keywords=["tea"], label=None)])
    newer, older = (await read(recent, "tea")).posts
    assert older == RecentPost(
        id="0-0",
        source="test",
        created_at=NOON,
        keywords=["a|b", "tea"],
        text=full.text,
        lang="en",
        url=None,
        label="joy",
        confidence=0.5,
        sentiment="good",
        sentiment_score=0.5,
    )
    assert (newer.id, newer.label, newer.confidence, newer.sentiment) == ("0-1", None, None, None)
    assert [post.id for post in (await read(recent, "a|b")).posts] == ["0-0"]
    assert await read(recent, "a") == PostPage([], None)
    assert await read(recent, "tea", "no such label") == PostPage([], None)


async def test_posts_after_a_time_are_left_out(settings: Settings, recent: RecentPosts) -> None:
    write(settings, [classified(n, at=NOON_MS + n, keywords=["tea"]) for n in range(3)])
    place = Place.at(NOON + timedelta(milliseconds=2))
    assert [post.id for post in (await read(recent, "tea", before=place)).posts] == ["0-1", "0-0"]
    page = await recent.read("tea", Deadline(30), now=NOON + timedelta(milliseconds=1))
    assert [post.id for post in page.posts] == ["0-0"]


async def test_the_index_finds_the_posts_of_a_keyword(settings: Settings) -> None:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute("EXPLAIN SELECT FROM posts WHERE keywords @> ARRAY['tea']").fetchall()
    assert any("keywords_idx" in str(line) for line in plan), plan


async def test_what_is_refused(recent: RecentPosts) -> None:
    for limit in (0, 501):
        with pytest.raises(QuestionError, match="limit: is not within 1 and 500"):
            await read(recent, "tea", limit=limit)
    for text in ("", "x", "1-2", "1-2-3-4", "-1-2-3", "1" * 17 + "-0-0"):
        with pytest.raises(QuestionError, match="before: is neither a time"):
            Place.parse(text)
    with pytest.raises(UnavailableError, match="deadline"):
        await recent.read("tea", Deadline(0), now=LATER)
