"""What a source does between the network and Kafka: the order of its steps."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.producer import Outgoing
from connectors.kafka.transactional import FencedError
from connectors.sources.bluesky.cursor import REWIND_US, LowWater
from connectors.sources.events import Positioned
from streams import redact
from streams.ingest.sources import pump as pump_module
from streams.ingest.sources.keywords import fixed_keywords
from streams.ingest.sources.pump import StorageError
from streams.records import SourcePosition
from tests.source_world import KEEP_ALIVE, Network, World, at, run, source_post


async def test_posts_are_sent_in_order_and_then_the_position_is_stored() -> None:
    world = World()
    assert await run(world, Network([source_post(number) for number in range(5)], ends=True))
    assert world.ids() == [f"test:{number}" for number in range(5)]
    last = world.positions[-1]
    assert (last.cursor, last.at, last.offsets, last.instance, last.source) == (
        "5",
        at(4),
        {"0": 5},
        "instance",
        "test",
    )
    assert world.metric("emostream_source_posts_total") == 5


async def test_the_first_position_is_stored_before_anything_more_is_read() -> None:
    world = World()
    seen: list[int] = []
    network = Network(
        [KEEP_ALIVE, source_post(1)], ends=True, script=lambda index: seen.append(len(world.positions)) or index
    )
    await run(world, network)
    # The position that is stored first tells where the raw topic ended when the instance began.
    assert seen == [1, 2]
    assert [position.cursor for position in world.positions[:2]] == [None, "1"]


async def test_no_position_is_stored_before_its_posts_are_confirmed() -> None:
    world = World()

    def check(position: SourcePosition) -> None:
        assert len(world.raw) >= int(position.cursor or 0)
        assert position.offsets == {"0": len(world.raw)}

    world.on_save = check
    await run(world, Network([source_post(number) for number in range(300)], ends=True))
    assert len(world.raw) == 300


async def test_if_kafka_takes_no_posts_the_position_stays() -> None:
    world = World()
    await run(world, Network([source_post(0)], ends=True))

    def fail(_: Sequence[Outgoing]) -> None:
        raise UnavailableError("Kafka does not answer")

    world.on_deliver = fail
    with pytest.raises(StorageError):
        await run(world, Network([source_post(0), source_post(1)], ends=True))
    assert [position.cursor for position in world.positions] == [None, "1"]


async def test_a_former_owner_stops() -> None:
    world = World()

    def fail(_: SourcePosition) -> None:
        raise FencedError("taken over")

    world.on_save = fail
    with pytest.raises(FencedError):
        await run(world, Network([source_post(0)]))


async def test_a_network_that_fails_keeps_what_came_before() -> None:
    def fail(index: int) -> None:
        if index == 3:
            raise UnavailableError("closed")

    world = World()
    with pytest.raises(UnavailableError, match="closed"):
        await run(world, Network([source_post(number) for number in range(5)], script=fail))
    assert len(world.raw) == 3
    assert world.positions[-1].cursor == "3"


async def test_rejected_credentials_end_the_source() -> None:
    def fail(_: int) -> None:
        raise RejectedError("wrong password")

    with pytest.raises(RejectedError):
        await run(World(), Network([source_post(0)], script=fail))


async def test_why_a_source_ends_is_stored_until_it_has_an_event_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(redact, "_secrets", {"hunter2hunter2"})
    await run(world, Network([source_post(0)], ends=True))
    await world.pump().fail(RejectedError(f"hunter2hunter2\nis refused {'x' * 600}"))
    report = world.positions[-1].report
    assert report is not None
    assert report.failure is not None
    assert report.failure.startswith("*** is refused xxx")
    assert (len(report.failure), report.posts, world.positions[-1].cursor) == (500, 1, "1")

    def failure_when_read(index: int) -> None:
        failures.append(world.positions[-1].report.failure)  # type: ignore[union-attr]

    failures: list[str | None] = []
    await run(world, Network([source_post(0), KEEP_ALIVE], ends=True, script=failure_when_read))
    last = world.positions[-1].report
    assert last is not None
    assert (failures[0], last.failure) == (report.failure, None)


async def test_a_source_that_ends_without_an_event_and_without_an_error_has_not_failed() -> None:
    world = World()
    await run(world, Network([source_post(0)], ends=True))
    await world.pump().fail(RejectedError("no"))
    before = world.positions[-1]
    await run(world, Network([source_post(0)], ends=True))  # nothing is behind its cursor
    last = world.positions[-1]
    assert last.report is not None
    assert (last.report.failure, last.cursor, last.at) == (None, before.cursor, before.at)


async def test_a_source_that_has_never_run_stores_why_it_ends() -> None:
    world = World()
    await world.pump().fail(RejectedError("no"))
    (_, last) = world.positions
    assert last.report is not None
    assert (last.cursor, last.report.failure) == (None, "no")


async def test_silence_ends_the_connection() -> None:
    world = World()
    with pytest.raises(UnavailableError, match="no event came"):
        await run(world, Network([source_post(0)], silence_s=0.3))
    assert world.ids() == ["test:0"]


async def test_a_stop_stores_the_position() -> None:
    world, stop = World(), asyncio.Event()
    network = Network(
        [source_post(number) for number in range(3)], script=lambda index: stop.set() if index == 2 else 0
    )
    assert not await world.pump().run(network, stop)
    assert world.positions[-1].cursor == str(len(world.raw))


async def test_cancelling_writes_nothing_more() -> None:
    world = World()
    await run(world, Network([source_post(0)], ends=True))
    reached = asyncio.Event()
    network = Network([source_post(0), source_post(1)], script=lambda index: reached.set() if index == 1 else 0)
    world.on_deliver = lambda _: pytest.fail("something was written")
    task = asyncio.create_task(world.pump().run(network, asyncio.Event()))
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(world.positions) == 2


async def test_what_the_network_repeats_is_not_sent_again() -> None:
    world = World()
    pump = world.pump()
    events = [source_post(number) for number in range(10)]
    await pump.run(Network(events[:6], ends=True), asyncio.Event())
    await pump.run(Network(events, repeats=4, ends=True), asyncio.Event())
    assert world.ids() == [f"test:{number}" for number in range(10)]
    assert world.metric("emostream_source_duplicates_total") == 4


async def test_a_new_process_knows_what_the_former_one_sent_behind_its_position() -> None:
    world = World()
    events = [source_post(number) for number in range(6)]
    await run(world, Network(events[:2], ends=True))
    with world.killed_before_the_position_is_stored():
        await run(world, Network(events[:5], ends=True))
    assert (len(world.raw), world.positions[-1].cursor) == (5, "2")
    await run(world, Network(events, repeats=2, ends=True))
    assert world.ids() == [f"test:{number}" for number in range(6)]


async def test_a_rate_limits_the_posts() -> None:
    world = World()
    started = asyncio.get_running_loop().time()
    await run(world, Network([source_post(number) for number in range(300)], ends=True, silence_s=0.1), rate=200.0)
    # The posts of a second come in a burst.
    assert asyncio.get_running_loop().time() - started >= 0.4
    assert len(world.raw) == 300


async def test_posts_that_are_not_sent_do_not_count_in_the_rate() -> None:
    world = World()
    events = [source_post(number, text="coffee") for number in range(1_000)]
    async with asyncio.timeout(30):
        network = Network([*events, source_post(1_000, text="tea")], ends=True)
        await run(world, network, selection=fixed_keywords(["tea"]), rate=10.0)
    assert world.ids() == ["test:1000"]


async def test_the_buffer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "MOST_BUFFERED", 10)
    world, sizes = World(), []
    world.on_deliver = lambda records: sizes.append(len(records))
    await run(world, Network([source_post(number) for number in range(100)], ends=True))
    assert max(sizes) <= 10
    assert len(world.raw) == 100


async def test_the_case_connector_sequence() -> None:
    """Events 1..100, the socket drops, the server replays 90..110 from the cursor minus 5 s, with 108 before 101."""
    world = World()
    pump = world.pump()
    base = 1_772_366_400_000_000
    low = LowWater(base)

    def event(number: int) -> Positioned:
        time_us = base + number
        cursor = low.add(time_us, 0.2 * len(received))
        received.append(number)
        return Positioned(source_post(number), str(cursor), at(0) + timedelta(microseconds=number))

    received: list[int] = []

    class Script(Network):
        async def stream(self, cursor: str | None):  # type: ignore[no-untyped-def,override]
            self.cursors.append(cursor)
            for number in self.numbers:
                yield event(number)
            raise UnavailableError("the socket drops")

        numbers: Sequence[int] = ()

    first, second = Script([]), Script([])
    first.numbers = range(1, 101)
    with pytest.raises(UnavailableError):
        await pump.run(first, asyncio.Event())
    saved = int(pump.cursor or 0)
    # Behind it nothing is unprocessed, and it is a few seconds back at most.
    assert base + 1 <= saved <= base + 100
    assert saved - REWIND_US < base + 90
    second.numbers = [*range(90, 101), 108, *range(101, 108), 109, 110]
    low = LowWater(saved)
    with pytest.raises(UnavailableError):
        await pump.run(second, asyncio.Event())
    assert second.cursors == [str(saved)]
    assert sorted(map(int, (name.removeprefix("test:") for name in world.ids()))) == list(range(1, 111))
    cursors = [int(position.cursor or 0) for position in world.positions]
    assert cursors == sorted(cursors)
    assert world.metric("emostream_source_duplicates_total") == 11
