"""Bluesky against a Jetstream server on a socket: cursors, fail-over, gaps, compression, and what no client expects."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.bluesky import BlueskySource, Hosts
from connectors.sources.bluesky.cursor import CLOCKS_DIFFER_US, REWIND_US, SETTLE_S, LowWater, parse_cursor
from connectors.sources.events import Positioned, SkipReason, SourceDeletion, SourceGap, SourcePost, SourceSkipped
from connectors.sources.net import PrivateAddressError
from connectors.sources.protocol import RateLimitError, SearchableSource
from tests.jetstream_server import JetstreamServer, commit, did, identity

NOW_US = int(time.time() * 1_000_000)
SECOND = 1_000_000


@pytest.fixture
def server() -> Iterator[JetstreamServer]:
    with JetstreamServer() as found:
        yield found


def source(*servers: JetstreamServer, **options: object) -> BlueskySource:
    return BlueskySource(Hosts([one.url for one in servers]), allow_private=True, **options)  # type: ignore[arg-type]


async def first(events: AsyncIterator[Positioned], count: int) -> list[Positioned]:
    """Returns the first events after the one that tells of the connection."""
    found: list[Positioned] = []
    async for event in events:
        found.append(event)
        if len(found) == count + 1:
            break
    return found[1:]


async def stream(bluesky: BlueskySource, cursor: str | None, count: int) -> list[Positioned]:
    async with aclosing(bluesky.stream(cursor)) as events:
        return await first(events, count)


def posts(found: list[Positioned]) -> list[SourcePost]:
    return [positioned.event for positioned in found if isinstance(positioned.event, SourcePost)]


async def test_it_is_a_source() -> None:
    bluesky = BlueskySource()
    assert isinstance(bluesky, SearchableSource)
    assert (bluesky.name, bluesky.stable_ids, bluesky.silence_s) == ("bluesky", True, 60)


async def test_it_continues_from_a_cursor(server: JetstreamServer) -> None:
    server.add([commit(NOW_US - second * SECOND, second) for second in range(60, 0, -1)])
    found = await stream(source(server), str(NOW_US - 30 * SECOND), 35)
    # It asks for a few seconds more, because the clocks of two hosts differ.
    assert server.asked[0].cursor == NOW_US - 30 * SECOND - REWIND_US
    assert server.asked[0].parameters["wantedCollections"] == ["app.bsky.feed.post"]
    assert [post.author for post in posts(found)] == [did(second) for second in range(35, 0, -1)]
    assert found[-1].at == datetime.fromtimestamp(NOW_US / SECOND - 1, UTC).replace(
        microsecond=(NOW_US - SECOND) % SECOND
    )


async def test_without_a_cursor_it_begins_now_and_knows_where(server: JetstreamServer) -> None:
    server.add([commit(NOW_US - SECOND, 1)])
    async with aclosing(source(server).stream(None)) as events:
        connected = await anext(events)
        assert isinstance(connected.event, SourceSkipped)
        assert connected.cursor is not None
        assert abs(int(connected.cursor) - time.time() * SECOND) < 60 * SECOND
        assert server.asked[0].cursor is None
        server.add([commit(int(connected.cursor) + 1, 2)])
        assert posts([await anext(events)])[0].author == did(2)


async def test_events_of_every_kind(server: JetstreamServer) -> None:
    account = {"did": did(6), "time_us": NOW_US, "kind": "account", "account": {"active": False, "status": "deleted"}}
    server.add(
        [
            commit(NOW_US, 1, "one", facets=[{"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "tea"}]}]),
            commit(NOW_US, 2, "", operation="delete"),
            commit(NOW_US, 3, "edited", operation="update"),
            identity(NOW_US, 4),
            commit(NOW_US, 5, "a like", collection="app.bsky.feed.like"),  # filtered by the server
            account,
            {"did": did(7), "time_us": NOW_US, "kind": "something new"},
        ]
    )
    found = [one.event for one in await stream(source(server), str(NOW_US), 6)]
    one, deleted, edited, skipped, erased, unknown = found
    assert isinstance(one, SourcePost)
    assert (one.keywords, one.lang, one.id) == (("tea",), "en", f"at://{did(1)}/app.bsky.feed.post/r1")
    assert deleted == SourceDeletion(id=f"at://{did(2)}/app.bsky.feed.post/r2")
    assert isinstance(edited, SourcePost)
    assert edited.edited
    assert erased == SourceDeletion(author=did(6))
    assert [event.reason for event in (skipped, unknown) if isinstance(event, SourceSkipped)] == ["not_a_post"] * 2


async def test_messages_that_cannot_be_read_do_not_end_the_stream(server: JetstreamServer) -> None:
    deep = "[" * 100_000
    future = commit(NOW_US + 2 * CLOCKS_DIFFER_US, 1)
    server.raw = ["", "{", "[]", "null", '{"kind":"commit"}', b"\xff\xfe", deep, '{"time_us":"1"}', json.dumps(future)]
    server.raw.append(json.dumps({"did": did(1), "time_us": NOW_US, "kind": "commit", "commit": {"operation": "x"}}))
    count = len(server.raw)
    server.add([commit(NOW_US, 1)])
    found = await stream(source(server), str(NOW_US), count + 1)
    assert {one.event.reason for one in found[:-1] if isinstance(one.event, SourceSkipped)} == {SkipReason.UNREADABLE}
    assert len(posts(found)) == 1
    # None of them moves the cursor.
    assert {one.cursor for one in found} == {str(NOW_US)}


async def test_a_post_with_a_lone_surrogate_can_be_repaired(server: JetstreamServer) -> None:
    server.add([commit(NOW_US, 1, "tea \ud83d time")])
    assert posts(await stream(source(server), str(NOW_US), 1))[0].text == "tea \ud83d time"


async def test_the_event_time_is_never_later_than_the_receipt(server: JetstreamServer) -> None:
    """The case `connector-event-list`: createdAt is whatever the client wrote."""
    received = 1772366400000000
    server.add(
        [
            commit(received, 1, createdAt="2031-05-01T00:00:00Z"),
            commit(received, 2, createdAt="2015-06-01T08:00:00.000Z"),
        ]
    )
    future, old = posts(await stream(source(server), str(received), 2))
    assert future.created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert old.created_at == datetime(2015, 6, 1, 8, tzinfo=UTC)


async def test_a_gap_is_seen_if_the_server_no_longer_has_what_came_after_the_cursor(server: JetstreamServer) -> None:
    server.add([commit(NOW_US - second * SECOND, second) for second in (7_000, 3_500, 3_000)])
    server.drop_before(NOW_US - 3_600 * SECOND)
    cursor = NOW_US - 7_100 * SECOND
    found = await stream(source(server), str(cursor), 3)
    gap = found[0].event
    assert isinstance(gap, SourceGap)
    assert gap.since is not None
    assert gap.until is not None
    assert (gap.until - gap.since).total_seconds() == 3_600
    assert found[0].cursor == str(NOW_US - 3_500 * SECOND)
    assert len(posts(found)) == 2
    # Continued from behind the gap, it is not seen again.
    assert not [one for one in await stream(source(server), found[0].cursor, 2) if isinstance(one.event, SourceGap)]


@pytest.mark.parametrize(
    "cursor",
    ["", "now", "-1", "1.5", "12345", pytest.param(str(NOW_US + 100 * CLOCKS_DIFFER_US), id="later"), "9" * 30, "١٢٣"],
)
async def test_a_cursor_that_is_none_is_refused_and_does_not_begin_now(server: JetstreamServer, cursor: str) -> None:
    with pytest.raises(RejectedError, match="the stored cursor"):
        await stream(source(server), cursor, 1)
    assert server.asked == []


@pytest.mark.parametrize("kind", ["close", "cut"])
async def test_a_connection_that_breaks(server: JetstreamServer, kind: str) -> None:
    server.add([commit(NOW_US + number, number) for number in range(10)])
    server.fault(4, kind)
    with pytest.raises(UnavailableError, match="closed the connection"):
        await stream(source(server), str(NOW_US), 10)
    assert len(await stream(source(server), str(NOW_US), 10)) == 10


async def test_a_host_that_does_not_answer_is_passed_over(server: JetstreamServer) -> None:
    server.add([commit(NOW_US, 1)])
    hosts = Hosts(["ws://127.0.0.1:1/subscribe", server.url])
    bluesky = BlueskySource(hosts, allow_private=True)
    assert len(await stream(bluesky, str(NOW_US), 1)) == 1
    assert hosts.in_order()[0] == server.url


async def test_a_host_that_refuses_is_passed_over() -> None:
    with JetstreamServer() as busy, JetstreamServer() as other:
        busy.refuse(429, {"Retry-After": "600"})
        other.add([commit(NOW_US, 1)])
        assert len(await stream(source(busy, other), str(NOW_US), 1)) == 1


async def test_a_host_that_sends_nothing_is_tried_last() -> None:
    with JetstreamServer() as dead, JetstreamServer() as other:
        dead.fault(0, "close")
        other.add([commit(NOW_US, 1)])
        bluesky = source(dead, other)
        with pytest.raises(UnavailableError):
            await stream(bluesky, str(NOW_US), 1)
        assert len(await stream(bluesky, str(NOW_US), 1)) == 1


async def test_a_host_that_is_silent_is_tried_last() -> None:
    with JetstreamServer() as silent, JetstreamServer() as other:
        hosts = Hosts([silent.url, other.url])
        async with aclosing(BlueskySource(hosts, allow_private=True).stream(str(NOW_US))) as events:
            await anext(events)
        # The caller has closed the stream after a silence.
        assert hosts.in_order() == [other.url, silent.url]


async def test_a_host_that_has_sent_something_stays_the_first() -> None:
    with JetstreamServer() as broken, JetstreamServer() as other:
        hosts = Hosts([broken.url, other.url])
        broken.fault(2, "close")
        broken.raw = [json.dumps(commit(NOW_US, number)) for number in range(2)]
        with pytest.raises(UnavailableError):
            await stream(BlueskySource(hosts, allow_private=True), None, 3)
        assert hosts.in_order() == [broken.url, other.url]


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [(429, {"Retry-After": "7"}, RateLimitError), (429, {}, RateLimitError), (503, {}, UnavailableError)],
)
async def test_a_server_that_refuses(
    server: JetstreamServer, status: int, headers: dict[str, str], error: type[UnavailableError]
) -> None:
    server.refuse(status, headers)
    with pytest.raises(error) as caught:
        await stream(source(server), None, 1)
    if isinstance(caught.value, RateLimitError):
        assert caught.value.retry_after_s == (7 if headers else None)


async def test_private_addresses_are_refused_unless_allowed(server: JetstreamServer) -> None:
    with pytest.raises(PrivateAddressError):
        await stream(BlueskySource(Hosts([server.url])), None, 1)


def dictionary() -> bytes:
    samples = [json.dumps(commit(NOW_US + number, number, f"text {number * 7}")).encode() for number in range(2_000)]
    return zstandard.train_dictionary(16_384, samples).as_bytes()


async def test_compression_with_a_dictionary_and_a_server_without_it() -> None:
    trained = dictionary()
    events = [commit(NOW_US + number, number) for number in range(5)]
    for of_server in (trained, None):
        with JetstreamServer(dictionary=of_server) as server:
            server.add(events)
            found = await stream(source(server, zstd_dictionary=trained), str(NOW_US), 5)
            assert [post.author for post in posts(found)] == [did(number) for number in range(5)]
            assert server.asked[0].parameters["compress"] == ["true"]


async def test_frames_that_cannot_be_decompressed() -> None:
    trained = dictionary()
    bomb = zstandard.ZstdCompressor().compress(b"0" * 200_000_000)
    stream_bomb = zstandard.ZstdCompressor(write_content_size=False).compress(b"0" * 200_000_000)
    with JetstreamServer(dictionary=trained) as server:
        server.raw = [bomb, stream_bomb, b"\x28\xb5\x2f\xfd damaged"]
        server.add([commit(NOW_US, 1)])
        found = await stream(source(server, zstd_dictionary=trained), str(NOW_US), 4)
    assert [type(one.event) for one in found] == [SourceSkipped] * 3 + [SourcePost]


def test_a_file_that_is_no_dictionary() -> None:
    with pytest.raises(RejectedError, match="no id"):
        BlueskySource(zstd_dictionary=b"this is not a dictionary")


def test_the_cursor_stays_behind_events_that_come_out_of_order() -> None:
    low = LowWater(NOW_US)
    assert low.add(NOW_US + 108, 0.0) == NOW_US + 108
    assert low.add(NOW_US + 101, 0.01) == NOW_US + 101
    assert low.add(NOW_US + 102, 0.5) == NOW_US + 101
    assert low.add(NOW_US + 110, SETTLE_S + 0.2) == NOW_US + 102
    assert low.add(NOW_US + 111, 2 * SETTLE_S + 0.5) == NOW_US + 111


def test_the_cursor_does_not_move_back_while_the_server_repeats() -> None:
    low = LowWater(NOW_US)
    assert low.add(NOW_US - REWIND_US, 0.0) == NOW_US
    assert low.add(NOW_US - REWIND_US - 1, 0.2) == NOW_US - REWIND_US - 1  # another clock: its times count


@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(0.0, 3.0)), max_size=60))
def test_the_cursor_is_the_least_time_of_the_last_seconds(steps: list[tuple[int, float]]) -> None:
    low, now = LowWater(NOW_US), 0.0
    received: list[tuple[float, int]] = []
    for offset, passed in steps:
        now += passed
        received.append((now, NOW_US + offset))
        cursor = low.add(NOW_US + offset, now)
        recent = [time_us for at, time_us in received if at > now - SETTLE_S + 0.2]
        older = [time_us for at, time_us in received if at > now - SETTLE_S - 0.2]
        assert min(older) <= cursor <= min(recent)


@given(st.text(max_size=25))
def test_any_cursor_is_a_time_or_is_refused(text: str) -> None:
    try:
        time_us = parse_cursor(text, now_us=NOW_US)
    except RejectedError:
        return
    assert 10**15 <= time_us <= NOW_US + CLOCKS_DIFFER_US


async def test_a_connection_is_closed_with_the_stream(server: JetstreamServer) -> None:
    server.add([commit(NOW_US, 1)])
    await stream(source(server), str(NOW_US), 1)
    while server.open:  # noqa: ASYNC110 - another thread changes it
        await asyncio.sleep(0.01)
    assert server.most_open == 1
