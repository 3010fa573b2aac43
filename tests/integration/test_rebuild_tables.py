"""Sealed tables, and what is carried over from old tables to rebuilt ones: the Lua scripts on a real Valkey."""

from __future__ import annotations

import asyncio

import pytest

from connectors.errors import UnavailableError
from connectors.kafka.offsets import OffsetReader
from streams.connections import kafka_config
from streams.errors import TopologyError
from streams.metrics import Metrics
from streams.pipeline.positions import AggregatePositions
from streams.records import EmotionWindow, from_ms
from streams.settings import Settings
from streams.windows.deltas import Position
from streams.windows.rebuild.editor import TableEditor
from streams.windows.store import SealedError, WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from streams.windows.update import Move, ShardUpdate
from tests.integration.support import PATIENCE_S, wait_for
from tests.integration.test_window_store import KEYWORD, START, apply_all, entry, env  # noqa: F401 - a fixture

SHARDS = 4


@pytest.fixture
def old(store: WindowStore) -> TableEditor:
    assert store.shards == SHARDS
    return TableEditor.of(store)


@pytest.fixture
async def rebuilt(old: TableEditor) -> TableEditor:
    found = old.at(await old.next_generation())
    for shard in range(SHARDS):
        await found.begin(shard, 0)
    return found


def minute(number: int, word: str = KEYWORD) -> WindowKey:
    return WindowKey(word, 60, START + number * 60_000)


async def publish(tables: WindowStore) -> None:
    """Clear every mark, as after a round of the emitter."""
    for shard in range(SHARDS):
        await tables.published(shard, await tables.dirty(shard, 1_000))


async def windows(tables: WindowStore, word: str = KEYWORD) -> dict[int, EmotionWindow]:
    """A keyword's windows by minute."""
    every = await tables.read(keyword=word, size=60)
    return {(round(window.start.timestamp() * 1_000) - START) // 60_000: window for window in every}


async def test_nothing_changes_in_sealed_tables_until_the_seal_runs_out(old: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1), entry(1, 61)], end=2)
    await publish(old)
    before = await old.read(), await old.state(shard)
    assert await old.lease(shard, "sealed", "me", 600_000, "take") == (True, pytest.approx(0, abs=10**15))
    assert (await old.times(shard)).sealed
    stand = (await old.positions(shard, [0]))[0]
    with pytest.raises(SealedError, match="being switched"):
        await old.apply(shard, ShardUpdate({0: Move(stand, Position(3, 2, 0))}))
    assert await old.finalize(shard, START + 60_000) == 0
    assert await old.expire(shard, 60, START + 60_000) == 0
    sealed = {name: value for name, value in (await old.state(shard)).items() if not name.startswith("sealed_")}
    assert (await old.read(), sealed) == before

    await old.lease(shard, "sealed", "me", 1, "renew")
    async with asyncio.timeout(PATIENCE_S):
        while await old.sealed(shard):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)
    assert await old.apply(shard, ShardUpdate({0: Move(stand, Position(3, 2, 0))})) is None
    assert await old.finalize(shard, START + 60_000) >= 1
    await publish(old)
    assert await old.expire(shard, 60, START + 60_000) >= 1


async def test_positions_are_not_looked_up_in_sealed_tables_but_in_those_in_force(
    settings: Settings, store: WindowStore, old: TableEditor, rebuilt: TableEditor
) -> None:
    reader = OffsetReader(kafka_config(settings), group="test")

    def is_led() -> bool:
        try:
            return reader.bounds(settings.topic_classified, 0) == (0, 0)
        except UnavailableError:
            return False

    wait_for(is_led, what="the topic has no leader")
    positions = AggregatePositions(reader, settings, store, asyncio.get_running_loop(), Metrics())
    try:
        await old.lease(2, "sealed", "me", 60_000, "take")
        with pytest.raises(SealedError):
            await asyncio.to_thread(positions, [0])
        assert not await old.begun(2), "what is about to go is not begun anew"
        assert await old.lease(None, "rebuild", "me", 60_000, "take") is not None
        assert not await old.switch("me", rebuilt.generation, 0), "too late"
        assert not await old.switch("somebody", rebuilt.generation, 2**52), "not by whoever has no lease"
        assert await old.switch("me", rebuilt.generation, 2**52)
        assert await asyncio.to_thread(positions, [0]) == {0: 0}
        assert store.generation == rebuilt.generation == 1
    finally:
        reader.close()


async def test_an_apply_from_another_fence_changes_nothing(store: WindowStore) -> None:
    """Pages of Postgres all stand at one offset."""
    await store.begin(0, 0)
    page = ShardUpdate({0: Move(Position(), Position(7, 3, 0))}, duplicates=1)
    assert await store.apply(0, page) is None
    again = ShardUpdate({0: Move(Position(7, 3, 0), Position(7, 5, 0))}, duplicates=1)
    assert await store.apply(0, again) is None
    assert await store.apply(0, again) == (0, 7), "the client asked again: its answer was lost"
    assert (await store.uncounted()).duplicates == 2


async def test_windows_that_agree_stay_what_they_were_published_as(old: TableEditor, rebuilt: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1), entry(1, 61)], end=2)
    await old.finalize(shard, START + 60_000)
    await publish(old)
    await apply_all(old, [entry(2, 2), entry(3, 62)], end=4)  # late in the first window; the second is still open
    await old.published(shard, [pair for pair in await old.dirty(shard, 9) if pair[0] == minute(0)])
    await apply_all(rebuilt, [entry(0, 1), entry(1, 61), entry(2, 2), entry(3, 62)], end=4)
    pair = [minute(0), minute(1)]

    for _ in range(2):
        assert await rebuilt.carry(old, shard, 60, pair, "settle") == 0

    before, after = await windows(old), await windows(rebuilt)
    assert after == before
    assert (after[0].final, after[0].late, after[1].final) == (True, 1, False)
    assert [key for key, _ in await rebuilt.dirty(shard, 9) if key.keyword == KEYWORD] == [minute(1)]
    assert await rebuilt.finalize(shard, START + 60_000) == (1 if shard == shard_of("*", SHARDS) else 0)


async def test_a_window_that_differs_is_published_under_a_higher_revision(
    old: TableEditor, rebuilt: TableEditor
) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(rebuilt, [entry(0, 1), entry(1, 61), entry(2, 2)], end=3)
    await publish(rebuilt)
    await apply_all(old, [entry(0, 1)], end=1)
    await old.finalize(shard, START + 60_000)
    await publish(old)
    counted, false = await windows(rebuilt), (await windows(old))[0]
    assert false.revision > counted[0].revision, "it was counted after the rebuild had counted it"

    assert await rebuilt.carry(old, shard, 60, [minute(0), minute(1)], "settle") == 2

    found = await windows(rebuilt)
    assert found[0].count == 2
    assert found[0].final, "it was, and the watermark does not go back"
    assert found[0].revision > false.revision
    assert found[1].revision > counted[1].revision, "nobody knows what was published of it"
    assert {key for key, _ in await rebuilt.dirty(shard, 9)} >= {minute(0), minute(1)}


async def test_windows_that_only_the_old_tables_have_are_copied_or_left_empty(
    old: TableEditor, rebuilt: TableEditor
) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1), entry(1, 61), entry(2, 121)], end=3)
    await old.finalize(shard, START + 60_000)
    await publish(old)
    before = await windows(old)

    assert await rebuilt.carry(old, shard, 60, [minute(0), minute(9)], "copy") == 0
    assert await windows(rebuilt) == {0: before[0]}
    assert await rebuilt.dirty_count(shard) == 0
    assert await rebuilt.carry(old, shard, 60, [minute(1)], "empty") == 1
    empty = (await windows(rebuilt))[1]
    assert (empty.count, empty.labels, empty.first_event, empty.final) == (0, {}, from_ms(START + 60_000), False)
    assert empty.revision > before[1].revision
    assert [key for key, _ in await rebuilt.dirty(shard, 9)] == [minute(1)]
    assert await rebuilt.sliding(60, 9, keyword=KEYWORD) != []

    # It takes posts again, and was never gone for that.
    await apply_all(rebuilt, [entry(3, 90)], end=4)
    filled = (await windows(rebuilt))[1]
    assert (filled.count, filled.first_event, filled.last_event) == (
        1,
        from_ms(START + 90_000),
        from_ms(START + 90_000),
    )
    assert filled.revision > empty.revision


async def test_a_window_that_was_left_empty_before_is_no_news(old: TableEditor, rebuilt: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1)], end=1)
    await rebuilt.carry(old, shard, 60, [minute(0)], "empty")
    await publish(rebuilt)
    third = old.at(await old.next_generation())
    await third.begin(shard, 0)
    assert await third.carry(rebuilt, shard, 60, [minute(0)], "empty") == 0
    assert await windows(third) == await windows(rebuilt)
    assert await third.dirty_count(shard) == 0


async def test_tables_that_somebody_removed_are_not_written_to(old: TableEditor, rebuilt: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1)], end=1)
    await apply_all(rebuilt, [entry(0, 1), entry(1, 61)], end=2)
    await rebuilt.clear()
    assert (await rebuilt.read(), await rebuilt.state(shard)) == ([], {})
    with pytest.raises(TopologyError, match="the rebuilt tables are gone"):
        await rebuilt.carry(old, shard, 60, [minute(0)], "copy")
    assert await rebuilt.read() == []
    assert len(await old.read()) == 2
