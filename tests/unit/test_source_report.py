"""What a source reports with its position: totals that go on after a restart, the rate, the lag, the last event."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from connectors.errors import UnavailableError
from connectors.sources.events import Positioned, SourceDeletion, SourceGap
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.keywords.selection import Selection
from streams.ingest.sources import metrics as metrics_module
from streams.ingest.sources import pump as pump_module
from streams.ingest.sources.keywords import fixed_keywords
from streams.ingest.sources.metrics import IngestMetrics, InstanceMetrics
from streams.ingest.sources.rate import SPAN_S, Rate
from streams.records import SourcePosition, SourceReport
from streams.records.values import MAX_KEYWORDS
from tests.source_world import KEEP_ALIVE, Network, World, at, source_post
from tests.waiting import until


async def run(world: World, network: Network, **options: object) -> SourceReport:
    """Run one connection, and return the report that was stored last."""
    await world.pump(**options).run(network, asyncio.Event())  # type: ignore[arg-type]
    report = world.positions[-1].report
    assert report is not None
    return report


async def test_the_totals_go_on_after_a_restart() -> None:
    world = World()
    gap = SourceGap(since=at(2), until=at(62), reason="lost")
    events = [source_post(0, text="tea"), source_post(1, text="milk"), gap, SourceDeletion(id="0"), KEEP_ALIVE]
    first = await run(world, Network(events, ends=True), selection=fixed_keywords(["tea"]))
    assert (first.posts, first.kept, first.duplicates, first.deletions, first.gap_seconds) == (1, 1, 0, 1, 60.0)
    assert first.refused == {"no_keyword": 1, "not_a_post": 1}
    later = [*events, source_post(9, text="more tea")]
    second = await run(world, Network(later, repeats=5, ends=True), selection=fixed_keywords(["tea"]))
    assert (second.posts, second.kept, second.duplicates, second.since) == (2, 3, 1, first.since)
    assert second.refused == {"no_keyword": 2, "not_a_post": 2}
    # The metrics of a process begin at 0; here both processes have the same ones.
    assert world.metric("emostream_source_posts_total") == 2
    assert world.metric("emostream_source_kept_total") == 3


async def test_a_post_that_was_sent_before_a_kill_is_counted_once() -> None:
    world = World()
    events = [source_post(number) for number in range(6)]
    await run(world, Network(events[:2], ends=True))
    with world.killed_before_the_position_is_stored():
        await run(world, Network(events[:5], ends=True))
    report = await run(world, Network(events, repeats=2, ends=True))
    # Posts 2, 3 and 4 were in the topic, but in no stored total. Posts 0 and 1 are repeated only.
    assert (len(world.raw), report.posts, report.duplicates) == (6, 6, 2)
    report = await run(world, Network(events, repeats=6, ends=True))
    assert (report.posts, report.duplicates) == (6, 8)


async def test_another_process_may_have_counted_meanwhile() -> None:
    metrics = InstanceMetrics(IngestMetrics(), "instance")
    metrics.refused("edited")
    metrics.posts.inc(5)
    world = World()
    await run(world, Network([source_post(0), source_post(1)], ends=True))
    metrics.resume(world.positions[-1])
    report = metrics.report()
    assert (report.posts, report.refused) == (2, {"edited": 0})


async def test_posts_with_too_many_keywords_are_counted() -> None:
    words = [f"word{number}" for number in range(MAX_KEYWORDS + 1)]
    matcher = Matcher(words)
    world = World()
    posts = [source_post(0, text=" ".join(words)), source_post(1, text="word1")]
    report = await run(
        world, Network(posts, ends=True), selection=Selection(lambda: matcher, keep_unmatched=False), max_chars=9_999
    )
    assert (report.kept, report.cut) == (2, 1)
    assert world.metric("emostream_source_keywords_cut_total") == 1


async def test_keep_alives_are_stored_although_the_position_stays() -> None:
    world = World()
    events = [source_post(0), *[Positioned(KEEP_ALIVE, "1", at(0))] * 3]
    report = await run(world, Network(events, ends=True))
    assert report.refused == {"not_a_post": 3}
    assert [position.cursor for position in world.positions] == [None, "1", "1"]


async def test_while_connected_they_are_stored_less_often_than_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "SAVE_S", 0.0)
    world, stop = World(), asyncio.Event()
    world.on_save = lambda position: stop.set() if position.report and "not_a_post" in position.report.refused else None
    events = [source_post(0), Positioned(KEEP_ALIVE, "1", at(0))]
    pump = world.pump()
    running = asyncio.create_task(pump.run(Network(events), stop))
    await asyncio.sleep(3 * pump_module.FLUSH_S)
    assert not stop.is_set()
    monkeypatch.setattr(pump_module, "REPORT_S", 0.0)
    await asyncio.wait_for(running, 30)


async def test_a_connection_without_an_event_is_no_event() -> None:
    world = World()
    heard = (await run(world, Network([source_post(0)], ends=True))).heard_at
    assert heard is not None
    pump = world.pump()
    with pytest.raises(UnavailableError):
        await pump.run(Network([], silence_s=0.01), asyncio.Event())
    assert pump._last_event is None


def test_how_long_no_event_came_and_how_old_the_last_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    wall = at(0).timestamp()
    fake = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: wall + clock.now)
    monkeypatch.setattr(metrics_module, "time", fake)
    registry = IngestMetrics()
    metrics = InstanceMetrics(registry, "instance")

    def value(name: str) -> float | None:
        return registry.registry.get_sample_value(f"emostream_source_{name}_seconds", {"source": "instance"})

    clock.now = 105.0
    metrics.note(None, None)
    assert value("idle") == 5
    metrics.note(at(103), 104.0)
    assert (value("idle"), value("lag")) == (1, 2)
    clock.now = 200.0
    metrics.note(at(103), 199.0)  # a keep-alive is no new event of the network's clock
    assert (value("idle"), value("lag")) == (1, 2)
    report = metrics.report()
    assert report.lag_s == 2


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate(1_000, 0.0)
    assert rate.per_second(0.0) == 0
    rate.note(1_010, 0.2)
    assert rate.per_second(0.2) == 1  # that of the first moments would jump
    for second in range(1, 300):
        rate.note(1_000 + 20 * second, float(second))
    assert rate.per_second(299.0) == pytest.approx(20, rel=0.05)
    rate.note(1_000 + 20 * 299, 299.0 + SPAN_S)
    rate.note(1_000 + 20 * 299, 299.0 + 2 * SPAN_S)
    assert rate.per_second(299.0 + 2 * SPAN_S) == 0


async def test_a_record_of_an_earlier_version_is_read() -> None:
    world = World()
    await run(world, Network([source_post(0)], ends=True))
    fields = json.loads(world.positions[-1].to_json())
    del fields["report"]
    position = SourcePosition.from_json(json.dumps(fields).encode())
    assert position.report is None
    world.positions.append(position)
    report = await run(world, Network([source_post(0), source_post(1)], ends=True))
    assert report.posts == 1


def test_a_report_survives_its_json() -> None:
    world = World()
    asyncio.run(run(world, Network([replace(source_post(0), edited=True), source_post(1)], ends=True)))
    position = world.positions[-1]
    assert SourcePosition.from_json(position.to_json()) == position
    assert position.report is not None
    assert abs(position.saved_at - (position.report.heard_at or position.saved_at)) < timedelta(seconds=60)


async def test_the_requests_that_a_source_repeats_are_counted_while_it_is_connected() -> None:
    class Retrying(Network):
        """Has repeated two requests after its first event, and three after the second."""

        def retries(self) -> int:
            return failed

    failed, world = 0, World()

    def are_counted() -> bool:
        return world.metric("emostream_source_retries_total") == 3

    async def fail(index: int) -> None:
        nonlocal failed
        failed = (0, 2, 3)[index]
        if index == 2:
            await until(are_counted, what="the retries are not counted while nothing comes")

    events = [source_post(0), source_post(1), source_post(2)]
    await run(world, Retrying(events, ends=True, script=fail))
    assert world.metric("emostream_source_retries_total") == 3
    # Each connection has a source of its own, which begins to count at 0.
    await run(world, Retrying([*events, source_post(3)], ends=True, script=lambda _: None))
    assert world.metric("emostream_source_retries_total") == 6
