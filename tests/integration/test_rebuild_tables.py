"""Sealed window tables, and what is carried over from old tables to rebuilt ones, on a real Valkey."""

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
from streams.windows.update import PositionChange, ShardUpdate
from tests.integration.support import TIMEOUT_S, wait_for
from tests.integration.window_store_support import KEYWORD, START, apply_all, entry, env  # noqa: F401 - a fixture

SHARDS = 4


@pytest.fixture
def old(store: WindowStore) -> TableEditor:
    assert store.shards == SHARDS
    return TableEditor.of(store)


@pytest.fixture
async def rebuilt(old: TableEditor) -> TableEditor:
    found = old.at(await old.next_generation())
    for shard in range(SHARDS):
        await found.initialise(shard, 0)
    return found


def minute(number: int, word: str = KEYWORD) -> WindowKey:
    return WindowKey(word, 60, START + number * 60_000)


async def publish(tables: WindowStore) -> None:
    """Clear every dirty mark, as the emitter does after it has published."""
    for shard in range(SHARDS):
        await tables.clear_dirty(shard, await tables.dirty(shard, 1_000))


async def windows(tables: WindowStore, word: str = KEYWORD) -> dict[int, EmotionWindow]:
    """Returns a keyword's windows by minute."""
    every = await tables.read(keyword=word, size=60)
    return {(round(window.start.timestamp() * 1_000) - START) // 60_000: window for window in every}


async def test_nothing_changes_in_sealed_tables_until_the_seal_runs_out(old: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1), entry(1, 61)], end=2)
    await publish(old)
    before = await old.read(), await old.state(shard)
    assert await old.lease(shard, "sealed", "me", 600_000, "take") == (True, pytest.approx(0, abs=10**15))
    assert (await old.times(shard)).sealed
    position = (await old.positions(shard, [0]))[0]
    with pytest.raises(SealedError, match="being switched"):
        await old.apply(shard, ShardUpdate({0: PositionChange(position, Position(3, 2, 0))}))
    assert await old.finalize(shard, START + 60_000) == 0
    assert await old.expire(shard, 60, START + 60_000) == 0
    sealed = {name: value for name, value in (await old.state(shard)).items() if not name.startswith("sealed_")}
    assert (await old.read(), sealed) == before

    await old.lease(shard, "sealed", "me", 1, "renew")
    async with asyncio.timeout(TIMEOUT_S):
        while await old.sealed(shard):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)
    assert await old.apply(shard, ShardUpdate({0: PositionChange(position, Position(3, 2, 0))})) is None
    assert await old.finalize(shard, START + 60_000) >= 1
    await publish(old)
    assert await old.expire(shard, 60, START + 60_000) >= 1


async def test_positions_are_those_of_the_current_tables_unless_these_are_sealed(
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
        assert not await old.is_initialised(2), "a sealed shard is not initialised"
        assert await old.lease(None, "rebuild", "me", 60_000, "take") is not None
        assert not await old.switch("me", rebuilt.generation, 0), "too late"
        assert not await old.switch("somebody", rebuilt.generation, 2**52), "without the lease of the rebuild"
        assert await old.switch("me", rebuilt.generation, 2**52)
        assert await asyncio.to_thread(positions, [0]) == {0: 0}
        assert store.generation == rebuilt.generation == 1
    finally:
        reader.close()


async def test_an_apply_from_another_fence_changes_nothing(store: WindowStore) -> None:
    """All pages of rows from Postgres have the same offset."""
    await store.initialise(0, 0)
    page = ShardUpdate({0: PositionChange(Position(), Position(7, 3, 0))}, duplicates=1)
    assert await store.apply(0, page) is None
    again = ShardUpdate({0: PositionChange(Position(7, 3, 0), Position(7, 5, 0))}, duplicates=1)
    assert await store.apply(0, again) is None
    assert await store.apply(0, again) == (0, 7), "as if the client repeated it after an answer was lost"
    assert (await store.counters()).duplicates == 2


async def test_windows_with_the_same_content_keep_their_revision(old: TableEditor, rebuilt: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1), entry(1, 61)], end=2)
    await old.finalize(shard, START + 60_000)
    await publish(old)
    await apply_all(old, [entry(2, 2), entry(3, 62)], end=4)  # late in the first window; the second is still open
    await old.clear_dirty(shard, [pair for pair in await old.dirty(shard, 9) if pair[0] == minute(0)])
    await apply_all(rebuilt, [entry(0, 1), entry(1, 61), entry(2, 2), entry(3, 62)], end=4)
    pair = [minute(0), minute(1)]

    for _ in range(2):
        assert await rebuilt.carry(old, shard, 60, pair, "reconcile") == 0

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
    counted, wrong = await windows(rebuilt), (await windows(old))[0]
    assert wrong.revision > counted[0].revision, "the old tables counted it later"

    assert await rebuilt.carry(old, shard, 60, [minute(0), minute(1)], "reconcile") == 2

    found = await windows(rebuilt)
    assert found[0].count == 2
    assert found[0].final, "a final window stays final"
    assert found[0].revision > wrong.revision
    assert found[1].revision > counted[1].revision, "it may have been published under a revision that was lost"
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

    # The emptied window takes posts again.
    await apply_all(rebuilt, [entry(3, 90)], end=4)
    filled = (await windows(rebuilt))[1]
    assert (filled.count, filled.first_event, filled.last_event) == (
        1,
        from_ms(START + 90_000),
        from_ms(START + 90_000),
    )
    assert filled.revision > empty.revision


async def test_a_window_that_was_empty_before_does_not_change(old: TableEditor, rebuilt: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1)], end=1)
    await rebuilt.carry(old, shard, 60, [minute(0)], "empty")
    await publish(rebuilt)
    third = old.at(await old.next_generation())
    await third.initialise(shard, 0)
    assert await third.carry(rebuilt, shard, 60, [minute(0)], "empty") == 0
    assert await windows(third) == await windows(rebuilt)
    assert await third.dirty_count(shard) == 0


async def test_tables_that_were_removed_are_not_written_to(old: TableEditor, rebuilt: TableEditor) -> None:
    shard = shard_of(KEYWORD, SHARDS)
    await apply_all(old, [entry(0, 1)], end=1)
    await apply_all(rebuilt, [entry(0, 1), entry(1, 61)], end=2)
    await rebuilt.clear()
    assert (await rebuilt.read(), await rebuilt.state(shard)) == ([], {})
    with pytest.raises(TopologyError, match="the rebuilt tables are gone"):
        await rebuilt.carry(old, shard, 60, [minute(0)], "copy")
    assert await rebuilt.read() == []
    assert len(await old.read()) == 2
