"""The Lua script that applies posts changes everything or nothing, on one Valkey server and on a cluster."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace
from redis import Redis
from redis.cluster import RedisCluster

from streams.errors import TopologyError
from streams.records import from_ms
from streams.settings import Settings
from streams.windows.connect import open_store
from streams.windows.deltas import Entry, Position, ShardDeltas
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from streams.windows.update import ShardUpdate
from tests.integration.window_store_support import KEYWORD, START, apply, apply_all, entry, env, reduced

__all__ = ["env"]  # a fixture


async def test_an_apply_from_another_position_changes_nothing(store: WindowStore) -> None:
    shard = shard_of(KEYWORD, store.shards)
    batch = [entry(0, 1), entry(1, 2)]
    await apply_all(store, batch, end=2)
    before = await store.read()

    # A zombie applies its batch again; a successor is further on; Redis lost the expected position.
    for expected in (Position(), Position(1, 0, START), Position(7, 6, START)):
        again = reduced(store, shard, batch, Position(), 2)
        assert await apply(store, shard, 0, expected, again) == 2

    assert await store.read() == before
    assert (await store.positions(shard, [0, 1])) == {0: Position(2, 1, START + 2_000), 1: Position()}


async def test_the_partitions_of_an_update_are_applied_together_or_not_at_all(store: WindowStore) -> None:
    shard = shard_of(KEYWORD, store.shards)
    await apply_all(store, [entry(0, 1)], end=1, partition=1)
    before = await store.read()
    shard_delta = reduced(store, shard, [entry(0, 2)], Position(), 1)
    update = ShardUpdate.of({partition: (Position(), shard_delta) for partition in (0, 1, 2)})
    assert update.windows[WindowKey(KEYWORD, 60, START)].fields["n"] == 3
    assert await store.apply(shard, update) == (1, 1)
    assert await store.read() == before

    del update.positions[1]
    assert await store.apply(shard, update) is None
    assert (await store.positions(shard, [0, 1, 2])) == {
        0: Position(1, 0, START + 2_000),
        1: Position(1, 0, START + 1_000),
        2: Position(1, 0, START + 2_000),
    }
    assert [w.count for w in await store.read(keyword=KEYWORD)] == [4]


async def test_the_shard_counts_duplicates(store: WindowStore) -> None:
    again = [entry(0, 1), entry(1, 2)._replace(duplicate=True), entry(2, 3)._replace(duplicate=True)]
    await apply_all(store, again, end=3)
    assert await store.counters() == ({}, {}, {}, 2)
    assert [w.count for w in await store.read(keyword="*")] == [1]


async def test_nothing_is_applied_before_a_shard_is_initialised(store: WindowStore) -> None:
    """After Redis was emptied, a batch in flight must not create windows whose posts Kafka has lost."""
    first = ShardDeltas(Position(5, 4, START))
    assert not await store.is_initialised(0)
    assert await apply(store, 0, 0, Position(), first) == -1
    await store.initialise(0, 0)
    assert await store.is_initialised(0)
    assert await apply(store, 0, 0, Position(), first) is None


async def test_windows_that_kafka_cannot_fill_are_not_created(store: WindowStore) -> None:
    for shard in range(store.shards):
        await store.initialise(shard, START + 1)
        await store.initialise(shard, 0)  # the first one counts
    await apply_all(store, [entry(0, 30), entry(1, 59), entry(2, 60)], end=3)
    assert {window.start for window in await store.read()} == {from_ms(START + 60_000)}
    assert await store.counters() == ({}, {}, {60: 2}, 0)


async def test_a_lost_position_is_told_apart_from_offset_zero(store: WindowStore) -> None:
    await store.initialise(0, 0)
    assert await apply(store, 0, 0, Position(0), ShardDeltas(Position(5, 4, START))) == -1
    assert await apply(store, 0, 0, Position(), ShardDeltas(Position(5, 4, START))) is None


async def test_revisions_rise_with_every_change_and_survive_a_rollback(settings: Settings, store: WindowStore) -> None:
    shard = shard_of(KEYWORD, store.shards)
    client = (RedisCluster if settings.redis_cluster else Redis).from_url(settings.redis_url.get_secret_value())
    revisions = []
    for step in range(3):
        await apply_all(store, [entry(step, step)], end=step + 1)
        revisions.append((await store.read(keyword=KEYWORD))[0].revision)
        if step == 0:
            member = WindowKey(KEYWORD, 60, START).member()
            snapshot = client.dump(f"{settings.redis_prefix}:{{{shard}}}:w:{member}")
    assert revisions == sorted(set(revisions))

    # The window goes back to its first state, as after a fail-over to a replica that lagged. Then it changes again.
    client.restore(f"{settings.redis_prefix}:{{{shard}}}:w:{member}", 0, snapshot, replace=True)
    client.close()
    await apply_all(store, [entry(3, 3)], end=4)
    assert (await store.read(keyword=KEYWORD))[0].revision > revisions[-1]


async def test_too_late_posts_are_counted_once(store: WindowStore) -> None:
    late = entry(1, 0)
    await apply_all(store, [entry(0, 7_200), late, entry(2, 7_201)], end=3)

    assert await store.counters() == ({60: 1}, {}, {}, 0)
    assert sum(window.count for window in await store.read(keyword="*")) == 2


async def test_tables_that_were_built_for_other_settings_are_refused(settings: Settings, store: WindowStore) -> None:
    await store.check_topology(settings.partitions)
    await store.check_topology(settings.partitions)
    with pytest.raises(TopologyError, match="were built for 4 partitions, but the settings say 8"):
        await store.check_topology(8)
    for update, message in (
        ({"shards": 16}, "EMOSTREAM_SHARDS=4"),
        (
            {"window_sizes": settings.window_sizes[:2]},
            r"hold windows of 60,300,3600,86400 s, but the settings say 60,300 s",
        ),
    ):
        async with open_store(settings.model_copy(update=update)) as other:
            with pytest.raises(TopologyError, match=message):
                await other.check_topology(settings.partitions)


async def test_a_window_counts_thousands_of_sources(store: WindowStore) -> None:
    """A script can pass only some thousand arguments to a command."""
    posts = [entry(number, 1).post._replace(source=f"source-{number % 2_500}") for number in range(4_000)]
    entries = [
        Entry(at, post._replace(origin=replace(post.origin, offset=at), keywords=())) for at, post in enumerate(posts)
    ]
    shard = shard_of("*", store.shards)
    await store.initialise(shard, 0)
    at = Position()
    for first, end in ((0, 1_500), (1_500, 4_000)):
        delta = reduced(store, shard, entries[first:end], at, end)
        assert await apply(store, shard, 0, at, delta) is None
        at = delta.position
    ((_, row),) = await store._read_rows(shard, [WindowKey("*", 60, START).member()])
    expected = Counter(post.source for post in posts)
    assert {name: int(value) for name, value in row.items() if name.startswith("s:")} == {
        f"s:{source}": count for source, count in expected.items()
    }
    assert (row["n"], row["l:joy"]) == ("4000", "4000")
