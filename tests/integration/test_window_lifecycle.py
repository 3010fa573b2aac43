"""A window becomes final, is published after each change, and is removed only when its time is over."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.cluster import RedisCluster

from streams.records import from_ms
from streams.settings import Settings
from streams.window_sizes import WindowSize
from streams.windows import store as store_module
from streams.windows.deltas import Position, reduce_entries
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from tests.integration.window_store_support import KEYWORD, START, apply, apply_all, entry, env, of

__all__ = ["env"]  # a fixture


async def test_final_windows_and_late_posts(store: WindowStore) -> None:
    shard = shard_of(KEYWORD, store.shards)
    assert ((await store.times(shard)).first_open, (await store.times(shard)).first_kept) == (None, {})
    await apply_all(store, [entry(0, 1), entry(1, 61)], end=2)
    times = await store.times(shard)
    assert (times.first_open, times.first_kept) == (START + 60_000, {60: START + 60_000})

    assert await store.finalize(shard, START + 59_999) == 0, "the watermark is inside the first window"
    assert await store.finalize(shard, START + 60_000) >= 1
    times = await store.times(shard)
    assert (times.first_open, times.first_kept) == (START + 120_000, {60: START + 60_000}), "final, and still kept"
    assert await store.finalize(shard, START + 60_000) == 0, "a window is marked only once"
    newest, oldest = await store.read(keyword=KEYWORD)
    assert (newest.final, oldest.final) == (False, True)

    await apply_all(store, [entry(2, 30)], end=3)
    corrected = (await store.read(keyword=KEYWORD))[1]
    assert (corrected.count, corrected.late, corrected.final) == (2, 1, True)
    assert corrected.revision > oldest.revision
    assert (await store.times(shard)).watermark == START + 60_000
    await store.finalize(shard, START)
    await store.note_watermark(shard, START)
    assert (await store.times(shard)).watermark == START + 60_000, "it never goes back"
    await store.note_watermark(shard, START + 61_000)
    assert (await store.times(shard)).watermark == START + 61_000


async def test_a_window_changed_since_it_was_published_stays_dirty(store: WindowStore) -> None:
    shard = shard_of(KEYWORD, store.shards)
    await apply_all(store, [entry(0, 1), entry(1, 61)], end=2)
    read = [(key, window) for key, window in await store.dirty(shard, 100) if key.keyword == KEYWORD]
    assert len(read) == 2
    await apply_all(store, [entry(2, 2)], end=3)

    await store.clear_dirty(shard, read)

    left = [key for key, _ in await store.dirty(shard, 100) if key.keyword == KEYWORD]
    assert left == [WindowKey(KEYWORD, 60, START)]


async def test_dirty_windows_of_some_sizes(
    store: WindowStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = shard_of(KEYWORD, store.shards)
    client = (RedisCluster if settings.redis_cluster else Redis).from_url(settings.redis_url.get_secret_value())
    dirty = {WindowKey(KEYWORD, size, START) for size in (60, 300, 6)} | {WindowKey("6|0|x", 300, START)}
    client.sadd(f"{settings.redis_prefix}:{{{shard}}}:dirty", *(key.member() for key in dirty))
    client.close()

    async def found(limit: int, *sizes: int) -> set[WindowKey]:
        return {key for key, _ in await store.dirty(shard, limit, sizes or None)}

    assert await found(9, 300) == {key for key in dirty if key.size == 300}
    assert await found(9, 6, 60) == {key for key in dirty if key.size != 300}
    assert await found(9, 3_600) == set()
    assert await found(9) == {key for key in dirty if key.size in store.sizes}
    assert len(await found(1, 300)) == 1
    monkeypatch.setattr(store_module, "DIRTY_BACKLOG", 3)
    assert await found(9, 3_600) == dirty, "windows of any size, because too many are dirty"
    assert len(await found(2, 3_600)) == 2


async def test_windows_expire_once_published_and_their_posts_stay_counted(store: WindowStore) -> None:
    await apply_all(store, [entry(0, 1), entry(1, 2), entry(2, 61)], end=3)
    for shard in range(store.shards):
        assert await store.expire(shard, 60, START + 60_000) == 0, "not before it is published"
        await store.clear_dirty(shard, await store.dirty(shard, 100))
        await store.expire(shard, 60, START + 60_000)

    assert {window.start for window in await store.read()} == {from_ms(START + 60_000)}
    assert await store.counters() == ({}, {60: 2}, {}, 0)


async def test_every_window_can_be_published_again(store: WindowStore) -> None:
    await apply_all(store, [entry(0, 1), entry(1, 61)], end=2)
    for shard in range(store.shards):
        await store.clear_dirty(shard, await store.dirty(shard, 100))
        assert await store.dirty_count(shard) == 0
    marked = [await store.mark_all_dirty(shard) for shard in range(store.shards)]
    assert sum(marked) == 4
    assert [await store.dirty_count(shard) for shard in range(store.shards)] == marked


async def test_a_late_post_does_not_create_a_removed_window_again(store: WindowStore) -> None:
    """The new window would replace the complete one in the topic and in Postgres.

    The post is not too late by its own partition, which had no post before.
    """
    await apply_all(store, [entry(0, 1), entry(1, 2), entry(2, 61)], end=3)
    for shard in range(store.shards):
        await store.clear_dirty(shard, await store.dirty(shard, 100))
        await store.expire(shard, 60, START + 60_000)

    await apply_all(store, [entry(0, 30), entry(1, 62)], end=2, partition=1)

    assert [window.count for window in await store.read(keyword="*")] == [2]
    assert await store.counters() == ({60: 1}, {60: 2}, {}, 0)


async def test_each_size_has_a_retention_of_its_own(settings: Settings, store: WindowStore) -> None:
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        at = Position()
        sizes = [WindowSize(60, 3_600), WindowSize(3_600, 7_200)]
        shard_delta = reduce_entries([of(0, 1)], positions=[at] * store.shards, end=1, sizes=sizes)[shard]
        assert await apply(store, shard, 0, at, shard_delta) is None
        await store.clear_dirty(shard, await store.dirty(shard, 100))
        await store.expire(shard, 60, START + 60_000)
        await store.expire(shard, 3_600, START + 60_000)
    assert [window.size for window in await store.read()] == [3_600]
    assert await store.counters() == ({}, {60: 1}, {}, 0)
