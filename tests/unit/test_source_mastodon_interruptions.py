"""The source of Mastodon after an interruption, against a local server."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from connectors.errors import UnavailableError
from connectors.sources.mastodon.heads import write_cursor
from tests.source_servers.http import Reply, Request, Stream
from tests.source_servers.mastodon import START, MastodonServer
from tests.source_servers.mastodon_reading import interrupted, of_server, source
from tests.source_servers.reading import Killed, reading


async def test_what_came_during_an_interruption_is_fetched_once() -> None:
    async with MastodonServer() as server:
        async with reading(source(server)) as first:
            await first.detail("heartbeat")
            server.post("one")
            await first.texts("one")
            server.cut_streams()
            assert isinstance(await first.error(), UnavailableError)
        missed = [f"missed {number}" for number in range(100)]
        for text in missed:
            server.post(text)
        async with reading(source(server), first.cursor) as second:
            await second.texts(*missed)
            server.post("after")
            await second.texts("after")
    # The overlap repeats what came shortly before; everything else comes once, and in order.
    assert [text for text in second.post_texts if text != "one"] == [*missed, "after"]
    assert second.gaps == []


async def test_a_post_that_was_edited_during_an_interruption_is_no_edit() -> None:
    """Its first version never came, so it must count."""
    async with MastodonServer() as server:
        cursor = await interrupted(server)
        number = server.post("two")
        server.edit(number, "two, edited")
        async with reading(source(server), cursor) as found:
            await found.texts("two, edited")
    assert [(post.id, post.edited) for post in found.posts if post.id == of_server(number)] == [
        (of_server(number), False)
    ]


async def test_a_server_that_no_longer_holds_the_last_post_is_a_gap() -> None:
    async with MastodonServer(keep=3) as server:
        cursor = await interrupted(server)
        for number in range(10):
            server.post(str(number))
        async with reading(source(server), cursor) as found:
            await found.texts("7", "8", "9")
        assert found.events[1].event is found.gaps[0]
        # Killed right after the gap: it is not reported again.
        async with reading(source(server), found.events[1].cursor) as again:
            await again.texts("7", "8", "9")
    (gap,) = found.gaps
    assert [gap.since, gap.until] == [START + timedelta(seconds=1), START + timedelta(seconds=9)]
    assert (gap.missing, gap.partial) == (None, True)
    assert found.post_texts == again.post_texts == ["7", "8", "9"]
    assert again.gaps == []


async def test_a_deleted_last_post_is_no_gap() -> None:
    async with MastodonServer() as server:
        server.post("older")
        cursor = await interrupted(server)
        server.delete(str(max(server.statuses)))
        server.post("two")
        async with reading(source(server), cursor) as found:
            await found.texts("two")
    assert found.gaps == []


async def test_a_post_that_arrives_late_is_fetched() -> None:
    """Its id is smaller than that of the last post, because it was written before."""
    async with MastodonServer(start=datetime.now(UTC)) as server:
        cursor = await interrupted(server)
        server.post("late", late_by=timedelta(seconds=30))
        async with reading(source(server), cursor) as found:
            await found.texts("late")
        async with reading(source(server, overlap=timedelta(seconds=10)), cursor) as missed:
            await missed.detail("heartbeat")
            server.post("after")
            await missed.texts("after")
    assert "late" not in missed.post_texts


async def test_a_connection_that_has_read_nothing_keeps_the_overlap() -> None:
    """What came late while the server did not answer must not count as read when it answers again."""
    async with MastodonServer() as server:
        cursor = write_cursor("127.0.0.1", {"public": server.post("one")}, START + timedelta(seconds=2))
        server.fail("/api/v1/timelines", Reply(503))
        async with reading(source(server), cursor) as failing:
            await failing.error()
        server.post("late", late_by=timedelta(seconds=30))
        async with reading(source(server), failing.cursor) as found:
            await found.texts("late")


async def test_a_timeline_that_was_not_read_keeps_the_overlap_while_others_are_read() -> None:
    class OneSided(MastodonServer):
        fails = True

        async def answer(self, request: Request) -> Reply | Stream:
            if self.fails and "/tag/dogs" in request.path:
                await cats_are_read.wait()
                return Reply(503)
            return await super().answer(request)

    cats_are_read = asyncio.Event()
    tags = {"tags": ("cats", "dogs")}
    async with OneSided() as server:
        head = server.post("one", tags=("cats", "dogs"))
        cursor = write_cursor("127.0.0.1", {"#cats": head, "#dogs": head}, START + timedelta(seconds=2))
        async with reading(source(server, **tags), cursor) as failing:
            await failing.detail("heartbeat")
            cats_are_read.set()
            await failing.error()
        server.fails = False
        server.post("a late dog", late_by=timedelta(seconds=30), tags=("dogs",))
        async with reading(source(server, **tags), failing.cursor) as found:
            await found.texts("a late dog")


async def test_a_server_without_min_id_is_not_read_for_ever() -> None:
    async with MastodonServer() as server:
        server.knows_min_id = False
        cursor = await interrupted(server)
        server.post("two")
        async with reading(source(server), cursor) as found:
            await found.texts("two")
            server.post("three")
            await found.texts("three")
    assert found.gaps == []


async def test_what_a_server_without_min_id_does_not_show_is_a_gap() -> None:
    async with MastodonServer() as server:
        server.knows_min_id = False
        cursor = await interrupted(server)
        for number in range(100):
            server.post(str(number))
        async with reading(source(server), cursor) as found:
            await found.texts("99")
            await found.detail("heartbeat")
    (gap,) = found.gaps
    assert [gap.since, gap.until] == [START + timedelta(seconds=1), START + timedelta(seconds=62)]
    assert "does not know min_id" in gap.reason
    assert found.post_texts == [str(number) for number in range(60, 100)]


async def test_ids_that_are_not_numbers_have_a_gap_and_no_post_is_lost() -> None:
    """Another program than Mastodon: its ids are ordered texts, and the server has forgotten the last post."""
    pages = {"min_id": [{"id": "01B", "created_at": START.isoformat(), "content": "first"}]}

    class Other(MastodonServer):
        async def answer(self, request: Request) -> Reply | Stream:
            if not request.path.startswith("/api/v1/timelines"):
                return await super().answer(request)
            found = [] if request.query.get("min_id") == "01B" else pages["min_id"]
            return Reply(200, json.dumps([] if "max_id" in request.query else found).encode())

    async with Other() as server:
        cursor = write_cursor("127.0.0.1", {"public": "01A"}, START)
        async with reading(source(server), cursor) as found:
            await found.texts("first")
        (gap,) = found.gaps
        behind = next(one.cursor for one in found.events if one.event is gap)
        async with reading(source(server), behind) as again:
            await again.texts("first")


async def test_a_page_that_is_too_large_is_read_in_parts() -> None:
    async with MastodonServer() as server:
        cursor = await interrupted(server)
        wanted = [f"{number} " + "x" * 2_000 for number in range(40)]
        for text in wanted:
            server.post(text)
        async with reading(source(server, max_bytes=20_000), cursor) as found:
            await found.texts(*wanted)


async def test_nothing_is_missing_after_twenty_kills() -> None:
    async with MastodonServer() as server:
        server.post("history")
        killed = Killed(seed=23)
        await killed.life(source(server), 1, idle="heartbeat")
        wanted = []
        for life in range(20):
            wanted += [server.post(f"{life}.{number}") for number in range(killed.random.randint(0, 60))]
            if killed.random.random() < 0.3:
                server.fail("/api/v1/timelines", Reply(200, b'[{"id": ', cut=5))
            await killed.life(source(server), 50, idle="heartbeat")
        async with reading(source(server), killed.cursor) as found:
            await found.texts(server.statuses[max(server.statuses)]["content"])
            await found.detail("heartbeat")
            wanted.append(server.post("the last one"))
            await found.texts("the last one")
    assert {post.id for post in (*killed.posts, *found.posts)} >= set(map(of_server, wanted))
    assert killed.gaps == found.gaps == []
