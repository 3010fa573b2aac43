"""What becomes of the events of a source: gaps, counts, ids and texts."""

import asyncio
from dataclasses import replace

import pytest

from connectors.sources.events import Positioned, SkipReason, SourceDeletion, SourceGap, SourcePost, SourceSkipped
from streams.ingest.sources.keywords import fixed_keywords
from tests.source_world import KEEP_ALIVE, Network, World, at, run, source_post


async def test_gaps_are_stored_once_and_with_the_position_behind_them() -> None:
    gap = SourceGap(since=at(1), until=at(100), reason="lost", missing=7)
    world = World()
    events = [source_post(0), gap, source_post(2)]
    world.on_save = lambda position: pytest.fail("killed") if position.gaps else None
    with pytest.raises(pytest.fail.Exception):
        await run(world, Network(events, ends=True))
    assert world.gaps == []
    world.on_save = lambda _: None
    await run(world, Network(events, ends=True))
    (stored,) = world.gaps
    assert (stored.since, stored.until, stored.missing, stored.number, stored.reason) == (at(1), at(100), 7, 1, "lost")
    assert world.positions[-1].gaps == 1
    await run(world, Network([*events, gap], ends=True))
    assert [one.number for one in world.gaps] == [1, 2]


async def test_a_gap_begins_with_the_last_event_before_the_connection() -> None:
    world = World()
    before = [Positioned(source_post(0), "1", at(0)), Positioned(source_post(5), "2", at(5))]
    first = SourceGap(since=at(2), until=at(100), reason="lost")
    later = SourceGap(since=at(3), until=at(100), reason="lost too")
    await run(world, Network(before, ends=True))
    live = Positioned(source_post(50), "4", at(50))
    await run(world, Network([*before, Positioned(first, "3"), live, Positioned(later, "5")], ends=True))
    assert [(gap.since, gap.until) for gap in world.gaps] == [(at(5), at(100)), (at(3), at(100))]


async def test_a_network_without_a_cursor_has_a_gap_at_each_break() -> None:
    world = World()
    before = [Positioned(source_post(0), None, at(0)), Positioned(source_post(1), None, at(1))]
    after = [
        Positioned(KEEP_ALIVE, None),
        Positioned(source_post(9), None, at(9)),
        Positioned(source_post(10), None, at(10)),
    ]
    await run(world, Network(before, ends=True))
    assert world.gaps == []
    await run(world, Network(after, ends=True))
    assert [(gap.since, gap.until) for gap in world.gaps] == [(at(1), at(9))]


async def test_posts_that_become_none_are_counted() -> None:
    world = World()
    events = [
        source_post(0, text="tea time"),
        source_post(1, text="coffee"),
        source_post(2, text="tea", edited=True),
        source_post(3, text="tea", created_at=at(0).replace(year=1950)),
        SourceSkipped(reason=SkipReason.EMPTY_TEXT),
        SourceDeletion(id="0"),
    ]
    await run(world, Network(events, ends=True), selection=fixed_keywords(["tea"]))
    assert world.ids() == ["test:0"]
    assert world.posts()[0].keywords == ("tea",)
    for reason in ("no_keyword", "edited", "invalid", "empty_text"):
        assert world.metric("emostream_source_refused_total", reason=reason) == 1, reason
    assert world.metric("emostream_source_deletions_total") == 1
    assert world.metric("emostream_source_posts_total") == 1


async def test_progress_is_a_new_post_or_a_later_event_and_not_a_connection() -> None:
    world = World()
    pump = world.pump()
    events = [source_post(number) for number in range(3)]
    await pump.run(Network(events, ends=True), asyncio.Event())
    assert pump.take_progress()
    await pump.run(Network(events, repeats=3, ends=True), asyncio.Event())
    await pump.run(Network([Positioned(KEEP_ALIVE, "3")] * 4, ends=True), asyncio.Event())
    assert not pump.take_progress()


async def test_an_id_that_is_too_long_or_not_storable_stays_the_same() -> None:
    world = World()
    posts = [source_post(0, id="x" * 2_000), source_post(1, id="a\0b\ud800"), source_post(2, text="a\0b\udfffc")]
    await run(world, Network(posts, ends=True))
    again: list[SourcePost] = [replace(post, text="again") for post in posts]
    await run(world, Network(again, repeats=3, ends=True))
    assert len(world.raw) == 3
    assert world.ids()[0].startswith("test:sha256:")
    assert world.posts()[2].text == "a\ufffdb\ufffdc"


async def test_a_long_text_is_cut() -> None:
    world = World()
    await run(world, Network([source_post(0, text="x" * 100)], ends=True), max_chars=10)
    assert world.posts()[0].text == "x" * 10
