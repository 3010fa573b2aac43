"""The source of Mastodon after an interruption, against a local server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from connectors.errors import UnavailableError
from tests.source_servers.http import Reply
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
    assert gap.missing is None
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


async def test_a_server_without_min_id_is_not_read_for_ever() -> None:
    async with MastodonServer() as server:
        server.knows_min_id = False
        cursor = await interrupted(server)
        server.post("two")
        async with reading(source(server), cursor) as found:
            await found.texts("two")
            server.post("three")
            await found.texts("three")


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
