"""What a client of a live stream gets, with events that the test publishes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from api.live.hub import LiveHub, Receiver
from api.live.ring import Event, Kind
from api.live.stream import MOST_POSTS, Intervals, Message, MessageKind, Subscription, messages
from api.problems import ProblemError

TEA = Subscription(frozenset({"tea"}), frozenset({Kind.WINDOW}))


class FakeFeed:
    """A feed whose events the test publishes."""

    problem: str | None = None

    def __init__(self) -> None:
        self.runs = False
        self.starts = 0
        self.stopped = asyncio.Event()

    def start(self, into: Receiver) -> None:
        self.publish, self.lose, self.skip = into.publish, into.lose, into.skip
        self.runs = True
        self.starts += 1

    def stop(self) -> None:
        self.runs = False
        self.stopped.set()


def tea(number: int, minute: int = 0) -> Event:
    return Event(Kind.WINDOW, f"tea|60|12:{minute:02}", ("tea",), b'{"count":%d}' % number)


def counts(message: Message) -> list[int]:
    assert message.kind is MessageKind.UPDATE
    return [window["count"] for window in json.loads(message.data)["windows"]]


class Client:
    """Reads the messages of a stream one by one."""

    def __init__(
        self,
        hub: LiveHub,
        stop: asyncio.Event,
        last_id: str | None = None,
        *,
        wanted: Subscription = TEA,
        windows_s: float = 0.001,
        posts_s: float = 0.001,
        **times: float,
    ) -> None:
        intervals = Intervals(windows_s, posts_s)
        self._found: AsyncIterator[Message] = messages(hub, stop, wanted, last_id=last_id, intervals=intervals, **times)

    async def next(self) -> Message:
        return await asyncio.wait_for(anext(self._found), 30)


async def test_an_update_has_the_newest_state_and_a_client_resumes() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        client = Client(hub, stop)
        reading = asyncio.ensure_future(client.next())
        await asyncio.sleep(0)
        feed.publish([tea(1), tea(2), tea(5, minute=1)])
        first = await reading
        assert counts(first) == [2, 5]
        feed.publish([tea(3)])
        assert counts(await client.next()) == [3]
        resumed = Client(hub, stop, last_id=first.id)
        assert counts(await resumed.next()) == [3]


BOTH = Subscription(frozenset({"tea", "*"}), frozenset(Kind))


def post(number: int) -> Event:
    return Event(Kind.POST, f"0-{number}", ("*",), b"%d" % number)


async def test_posts_do_not_wait_for_windows() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        client = Client(hub, stop, wanted=BOTH, windows_s=3_600)
        reading = asyncio.ensure_future(client.next())
        await asyncio.sleep(0)
        feed.publish([tea(1), post(1)])
        first = await reading
        assert json.loads(first.data) == {"windows": [{"count": 1}], "posts": [1], "skipped_posts": 0}
        # The windows of the next hour wait, and the posts do not.
        for number in range(2, 5):
            feed.publish([tea(number), post(number)])
            last = await client.next()
            assert json.loads(last.data) == {"windows": [], "posts": [number], "skipped_posts": 0}
        # A client that resumes gets the windows that it has not seen, and no post twice.
        resumed = await Client(hub, stop, last.id, wanted=BOTH).next()
        assert json.loads(resumed.data) == {"windows": [{"count": 4}], "posts": [], "skipped_posts": 0}


async def test_more_posts_than_fit_are_counted_and_no_gap() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        reading = asyncio.ensure_future(Client(hub, stop, wanted=BOTH).next())
        await asyncio.sleep(0)
        feed.publish([post(number) for number in range(MOST_POSTS + 3)])
        feed.skip(40)
        found = await reading
        assert found.kind is MessageKind.UPDATE
        update = json.loads(found.data)
        assert update["posts"] == list(range(3, MOST_POSTS + 3))
        assert update["skipped_posts"] == 43


async def test_an_unknown_id_is_a_gap() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        client = Client(hub, stop, last_id="of another process")
        assert (await client.next()).kind is MessageKind.GAP
        reading = asyncio.ensure_future(client.next())
        await asyncio.sleep(0)
        feed.publish([tea(1)])
        assert counts(await reading) == [1]


async def test_missed_events_are_a_gap() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        reading = asyncio.ensure_future(Client(hub, stop).next())
        await asyncio.sleep(0)
        feed.lose()
        assert (await reading).kind is MessageKind.GAP


async def test_silence_brings_signs_of_life_while_others_change() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    milk = Event(Kind.WINDOW, "milk|60|12:00", ("milk",), b"{}")

    async def publish() -> None:
        while True:
            feed.publish([milk])
            await asyncio.sleep(0)

    with hub.client():
        client = Client(hub, stop, heartbeat_s=0.02)
        publishing = asyncio.ensure_future(publish())
        for _ in range(3):
            assert (await client.next()).kind is MessageKind.HEARTBEAT
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)


async def test_the_end_of_the_process_ends_the_stream() -> None:
    feed, stop = FakeFeed(), asyncio.Event()
    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        client = Client(hub, stop)
        reading = asyncio.ensure_future(client.next())
        await asyncio.sleep(0)
        stop.set()
        assert (await reading).kind is MessageKind.END
        with pytest.raises(StopAsyncIteration):
            await client.next()


async def test_a_stream_ends_when_its_caller_is_not_admitted_any_more() -> None:
    feed, answers = FakeFeed(), [True, False]

    async def admitted() -> bool:
        return answers.pop(0)

    hub = LiveHub([feed], most_clients=2)
    with hub.client():
        found = messages(
            hub,
            asyncio.Event(),
            TEA,
            last_id=None,
            intervals=Intervals(0, 0),
            heartbeat_s=0.02,
            admitted=admitted,
            admitted_s=0.01,
        )
        kinds = [message.kind async for message in found]
    assert (kinds, answers) == ([MessageKind.HEARTBEAT, MessageKind.HEARTBEAT, MessageKind.END], [])


async def test_kafka_is_read_while_there_are_clients_and_a_moment_longer() -> None:
    feed = FakeFeed()
    hub = LiveHub([feed], most_clients=2, linger_s=0)
    assert not feed.runs
    with hub.client(), hub.client():
        assert feed.starts == 1
        feed.publish([tea(1)])
        await asyncio.sleep(0)
    await asyncio.wait_for(feed.stopped.wait(), 30)
    cursor = hub.ring.last_id
    with hub.client():
        assert feed.starts == 2
        assert hub.ring.since(cursor, {"tea"}, Kind.WINDOW, 10).gap  # nothing was read meanwhile
    hub.close()


async def test_a_client_that_comes_back_in_time_misses_nothing() -> None:
    feed = FakeFeed()
    hub = LiveHub([feed], most_clients=2, linger_s=3_600)
    with hub.client():
        pass
    with hub.client():
        assert feed.starts == 1
    hub.close()
    assert not feed.runs


async def test_there_is_a_most_number_of_clients() -> None:
    hub = LiveHub([], most_clients=1)
    with hub.client(), pytest.raises(ProblemError, match="EMOSTREAM_API_MAX_STREAMS"), hub.client():
        pass
    assert hub.clients == 0
    hub.close()
