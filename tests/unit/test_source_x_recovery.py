"""The source of X after an interruption, against a local server."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from connectors.errors import UnavailableError
from connectors.sources.events import SourcePost
from connectors.sources.protocol import RetryingSource
from connectors.sources.x import api, recovery
from connectors.sources.x.cursor import Hole, Position, id_at, time_of
from connectors.sources.x.following import RuleLimits
from connectors.sources.x.listening import now_ms
from connectors.sources.x.recovery import REACH, RecoveryOptions
from tests.source_servers.http import Reply
from tests.source_servers.reading import Killed, Reading, reading
from tests.source_servers.x import XServer, problem, reply
from tests.source_servers.x_reading import SEARCH, STREAM, listening, source

FETCHED = "a part of an interruption was fetched"
HOUR = timedelta(hours=1)


def cursor_of(ago: timedelta) -> str:
    """The cursor of a source that was interrupted a while ago."""
    return Position(id_at(now_ms() - int(ago.total_seconds() * 1_000))).text()


def holes(found: Reading) -> list[Hole]:
    return Position.read(found.cursor or "", now_ms()).holes


async def recovered(found: Reading) -> None:
    """Wait until nothing is left to be fetched."""
    await found.until(lambda: not holes(found))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_WAIT_S", "_LEAST_WAIT_S", "_MOST_WAIT_S"):
        monkeypatch.setattr(api, name, 0.01)


def near(found: datetime | None, ago: timedelta) -> bool:
    return found is not None and abs(datetime.now(UTC) - ago - found) < timedelta(minutes=5)


async def test_what_came_during_an_interruption_is_fetched_once() -> None:
    async with XServer() as server:
        server.page = 30
        async with listening(server) as first:
            server.post("coffee")
            await first.texts("coffee")
            server.cut_streams()
            await first.error()
        await server.free()
        missed = [f"coffee {number}" for number in range(100)]
        for text in missed:
            server.post(text)
        server.post("tea")
        server.repost("coffee too")
        async with listening(server, cursor=first.cursor) as second:
            server.post("coffee, live")
            await recovered(second)
            server.post("coffee, later")
            await second.texts("coffee, later")
        async with listening(server, cursor=second.cursor) as third:
            await recovered(third)
    # The overlap repeats what came shortly before; everything else comes once.
    texts = [text for text in second.post_texts if text not in ("coffee", "coffee too")]
    assert sorted(texts) == sorted([*missed, "coffee, live", "coffee, later"])
    assert second.gaps == third.gaps == []
    assert holes(second) == []


async def test_a_post_that_x_would_have_sent_late_is_fetched() -> None:
    """Posts do not come in order: one from before the position may not have come yet."""
    async with XServer() as server:
        server.post("coffee", ago=timedelta(minutes=5, seconds=20))
        server.post("coffee before", ago=timedelta(minutes=5, seconds=40))
        async with listening(server, cursor=cursor_of(timedelta(minutes=5))) as found:
            await recovered(found)
    assert found.post_texts == ["coffee"]


async def test_what_comes_while_the_first_connection_is_made_is_fetched() -> None:
    async with XServer() as server:
        server.post("coffee before", ago=timedelta(seconds=1))
        server.gate.clear()
        async with reading(source(server)) as found:
            await found.until(lambda: STREAM in server.paths())
            server.post("coffee")
            server.gate.set()
            await found.detail(FETCHED)
    assert found.post_texts == ["coffee"]


async def test_many_keywords_need_several_queries() -> None:
    words = [f"{'abcdefghij'[number % 10] * 15}{number}" for number in range(40)]
    async with XServer() as server:
        for word in words:
            server.post(f"{word}!")
        limits = RuleLimits(query_chars=256)
        async with listening(server, *words, cursor=cursor_of(timedelta(minutes=9)), limits=limits) as found:
            await recovered(found)
        queries = {one.query["query"] for one in server.requests if one.path == SEARCH}
    assert sorted(found.post_texts) == sorted(f"{word}!" for word in words)
    assert len(queries) > 1
    assert all(len(query) <= 256 for query in queries)


async def test_the_search_is_asked_when_it_knows_the_posts() -> None:
    async with XServer() as server:
        server.delay_s = 0.4
        server.post("coffee")
        async with listening(server, cursor=cursor_of(timedelta(minutes=1)), search_delay_s=0.5) as found:
            await recovered(found)
    assert found.post_texts == ["coffee"]


async def test_an_older_interruption_need_not_wait_for_the_search() -> None:
    """A stream that breaks again and again before the search knows the latest posts."""
    hour = id_at(now_ms() - 3_600_000)
    position = Position(id_at(now_ms() - 60_000), [Hole(hour, id_at(now_ms() - 3_000_000))])
    async with XServer() as server:
        server.post("coffee", ago=timedelta(minutes=55))
        server.post("coffee, lately", ago=timedelta(seconds=20))
        async with listening(server, cursor=position.text(), search_delay_s=1_000.0) as found:
            await found.until(lambda: len(holes(found)) == 1)
    assert found.post_texts == ["coffee"]


async def test_without_recovery_an_interruption_is_a_gap() -> None:
    off = RecoveryOptions(enabled=False)
    async with XServer() as server:
        server.post("coffee")
        async with listening(server, cursor=cursor_of(HOUR), recovery=off) as found:
            await found.until(lambda: bool(found.gaps))
            server.post("more coffee")
            await found.texts("more coffee")
        async with listening(server, recovery=off) as first:  # the first start is no interruption
            server.post("coffee")
            await first.texts("coffee")
        assert SEARCH not in server.paths()
    (gap,) = found.gaps
    assert near(gap.since, HOUR)
    assert near(gap.until, timedelta())
    assert "`recover` is off" in gap.reason
    assert first.gaps == []
    # A kill right after the gap does not report it again.
    behind = found.events[[one.event for one in found.events].index(gap)].cursor
    assert Position.read(behind or "", now_ms()).holes == []


async def test_the_time_without_keywords_is_no_interruption() -> None:
    """Its posts were not wanted, and a search for them would cost money."""
    async with XServer() as server:
        async with reading(source(server, follow=tuple), cursor_of(HOUR)) as waiting:
            assert type(await waiting.error()) is UnavailableError
        server.post("coffee", ago=timedelta(minutes=30))
        server.post("coffee, lately")
        async with listening(server, cursor=waiting.cursor) as found:
            await recovered(found)
    assert found.post_texts == ["coffee, lately"]
    assert found.gaps == []


async def test_what_the_search_does_not_reach_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(time.time())  # time passes between two parts
    monkeypatch.setattr(recovery, "time", SimpleNamespace(time=lambda: next(seconds)))
    async with XServer() as server:
        for days in (10, 6, 3, 1):
            server.post(f"coffee {days}", ago=timedelta(days=days))
        async with listening(server, cursor=cursor_of(timedelta(days=9))) as found:
            await found.texts("coffee 6", "coffee 3", "coffee 1")
            await recovered(found)
    (gap,) = found.gaps
    assert near(gap.since, timedelta(days=9))
    assert near(gap.until, REACH)
    assert "seven days" in gap.reason
    # In parts, the oldest first, so that a restart goes on where it was.
    assert found.post_texts == ["coffee 6", "coffee 3", "coffee 1"]
    assert 15 < sum(FETCHED in one.detail for one in found.skipped) < 24


async def test_a_search_that_x_refuses_is_a_gap() -> None:
    async with XServer() as server:
        server.fail(SEARCH, reply(problem("client-forbidden", "Client Forbidden"), 403))
        async with listening(server, cursor=cursor_of(HOUR)) as found:
            await found.until(lambda: bool(found.gaps))
            server.post("coffee")
            await found.texts("coffee")
    (gap,) = found.gaps
    assert near(gap.since, HOUR)
    assert near(gap.until, timedelta())
    assert "why: Client Forbidden" in gap.reason
    assert holes(found) == []


async def test_a_page_that_is_too_large_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_PAGE_BYTES", 10_000)
    async with XServer() as server:
        server.post("coffee " + "x" * 10_000)
        async with listening(server, cursor=cursor_of(timedelta(minutes=5))) as found:
            await found.until(lambda: bool(found.gaps))
    assert "longer than 10,000 bytes" in found.gaps[0].reason


async def test_a_search_that_fails_is_repeated_while_the_stream_goes_on(hasty: None) -> None:
    async with XServer() as server:
        server.post("coffee")
        past = Reply(429, headers={"x-rate-limit-reset": "1"})
        server.fail(SEARCH, Reply(503), past, Reply(429), Reply(200, b'{"data": [', cut=5), Reply(200, b"[]"))
        x = source(server)
        async with reading(x, cursor_of(timedelta(minutes=5))) as found:
            await found.detail("keep-alive")
            server.post("coffee, live")
            await found.texts("coffee", "coffee, live")
        assert isinstance(x, RetryingSource)
        assert x.retries() == 5
        assert server.paths().count(STREAM) == 1
    assert found.gaps == []


async def test_more_posts_than_are_allowed_are_a_gap() -> None:
    async with XServer() as server:
        for minutes in (55, 45, 35, 25):
            for number in range(5):
                server.post(f"coffee {minutes}.{number}", ago=timedelta(minutes=minutes))
        few = RecoveryOptions(most_posts=8)
        async with listening(server, cursor=cursor_of(HOUR), recovery=few) as found:
            await found.until(lambda: bool(found.gaps))
    (gap,) = found.gaps
    assert "more than 8 posts (recover_posts)" in gap.reason
    assert gap.since is not None
    assert near(gap.since, timedelta(minutes=50))  # the part with the second five
    assert near(gap.until, timedelta())
    assert len(found.posts) == 9


async def test_backfill_makes_the_search_unnecessary() -> None:
    async with XServer() as server:
        server.rule("coffee -is:retweet", "emostream:test")
        server.post("coffee", ago=timedelta(seconds=100))
        cursor = cursor_of(timedelta(minutes=2))
        async with listening(server, cursor=cursor, backfill_minutes=5) as found:
            await found.texts("coffee")
            server.beat()
            await found.detail("keep-alive", 2)
        async with listening(server, backfill_minutes=5) as first:
            pass
        asked = [one.query.get("backfill_minutes") for one in server.requests if one.path == STREAM]
        assert SEARCH not in server.paths()
    assert asked == ["3", None]
    assert found.gaps == first.gaps == []
    # While X may still repeat posts, a restart asks for all of them again.
    assert {Position.read(one.cursor or "", now_ms()).newest for one in found.events} == {
        Position.read(cursor, now_ms()).newest
    }


async def test_what_backfill_does_not_cover_is_fetched() -> None:
    async with XServer() as server:
        server.rule("coffee -is:retweet", "emostream:test")
        for minutes in (20, 2):
            server.post(f"coffee {minutes}", ago=timedelta(minutes=minutes))
        async with listening(server, cursor=cursor_of(timedelta(minutes=30)), backfill_minutes=5) as found:
            await found.texts("coffee 20", "coffee 2")
        searched = next(one.query for one in server.requests if one.path == SEARCH)
    assert near(time_of(int(searched["since_id"])), timedelta(minutes=30))
    assert found.gaps == []


async def test_an_edit_during_an_interruption_is_the_post() -> None:
    """Its first version never came, so it must count; that of an older post must not."""
    async with XServer() as server:
        before = server.post("coffee before", ago=timedelta(minutes=10))
        during = server.post("coffee during", ago=timedelta(minutes=4))
        server.edit(before, "coffee before, edited")
        server.edit(during, "coffee during, edited")
        async with listening(server, cursor=cursor_of(timedelta(minutes=5))) as found:
            await recovered(found)
    edits = {(post.id, post.edited) for post in found.posts}
    assert edits == {(before, True), (during, False)}


async def test_nothing_is_missing_after_twenty_kills(hasty: None) -> None:
    faults = (reply(problem("usage-capped"), 429), Reply(503), Reply(200, b'{"data": [', cut=5))
    async with XServer() as server:
        killed = Killed(seed=23)
        async with listening(server) as found:
            pass
        killed.keep(found)
        wanted = []
        for life in range(20):
            wanted += [server.post(f"coffee {life}.{number}") for number in range(killed.random.randint(0, 40))]
            if killed.random.random() < 0.5:
                server.fail(SEARCH, killed.random.choice(faults))
            async with listening(server, cursor=killed.cursor) as found:
                live = range(killed.random.randint(0, 9))
                wanted += [server.post(f"coffee, live {life}.{number}") for number in live]
                enough = killed.random.randint(1, 40)
                await found.until(
                    lambda found=found, enough=enough: len(found.events) >= enough or not holes(found)  # type: ignore[misc]
                )
            killed.keep(found)
        async with listening(server, cursor=killed.cursor) as found:
            await recovered(found)
    assert {post.id for post in (*killed.posts, *found.posts)} >= set(wanted)
    assert killed.gaps == found.gaps == []


async def test_a_keep_alive_that_is_read_late_does_not_hide_the_posts_behind_it() -> None:
    """While Kafka takes no posts, what X sends waits in the buffers of the connection."""
    received, cursor, overlap_ms = set(), None, 100
    async with XServer() as server:
        async with AsyncExitStack() as stack:
            held = source(server, recovery=RecoveryOptions(enabled=False))
            stack.push_async_callback(held.close)
            events = await stack.enter_async_context(aclosing(held.stream(None)))
            while not server.streams:
                await anext(events)
            wanted = {server.post(f"coffee {number}") for number in range(300)}  # more than the source reads ahead
            server.beat()
            wanted |= {server.post(f"coffee, late {number}") for number in range(3)}
            # When the keep-alive is read, the last posts are older than the overlap.
            await asyncio.sleep(2 * overlap_ms / 1_000)
            async for found in events:
                cursor = found.cursor
                if isinstance(found.event, SourcePost):
                    received.add(found.event.id)
                elif received:
                    break  # at the keep-alive, where the process is killed
        async with listening(server, cursor=cursor, overlap=timedelta(milliseconds=overlap_ms)) as next_life:
            await recovered(next_life)
    assert received < wanted
    assert received | {post.id for post in next_life.posts} == wanted
