"""The Lua scripts on a real Valkey: each changes everything or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis import Redis
from redis.cluster import RedisCluster

from streams.errors import TopologyError
from streams.records import ClassifiedPost, ModelRef, Origin, from_ms
from streams.settings import Settings
from streams.window_sizes import WindowSize
from streams.windows import store as store_module
from streams.windows.connect import open_store
from streams.windows.deltas import Entry, Position, ShardDeltas, reduce_entries
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of
from streams.windows.update import ShardUpdate
from tests.helpers import for_counting
from tests.integration.redis_cluster import ClusterNode

START = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1_000)
KEYWORD = "coffee|{1} ☕"
SIZES = [WindowSize(60, 3_600)]


@pytest.fixture(params=["one server", "cluster"])
def env(env: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    """The scripts run on one server, and on a cluster, where each shard lies on one node."""
    if request.param == "one server":
        return env
    nodes: list[ClusterNode] = request.getfixturevalue("redis_cluster")
    return {**env, "EMOSTREAM_REDIS_URL": f"redis://127.0.0.1:{nodes[0].port}", "EMOSTREAM_REDIS_CLUSTER": "true"}


def entry(offset: int, seconds: float, label: str = "joy", confidence: float = 0.75) -> Entry:
    moment = from_ms(START + int(seconds * 1_000))
    post = ClassifiedPost(
        id=str(offset),
        source="test",
        keywords=(KEYWORD,),
        created_at=moment,
        label=label,
        confidence=confidence,
        scores={label: confidence},
        model=ModelRef(name="m", version="1.0.0"),
        origin=Origin(topic="raw", partition=0, offset=offset),
        classified_at=moment,
    )
    return Entry(offset, for_counting(post))


def reduced(store: WindowStore, shard: int, entries: list[Entry], at: Position, end: int) -> ShardDeltas:
    return reduce_entries(entries, positions=[at] * store.shards, end=end, sizes=SIZES)[shard]


async def apply(store: WindowStore, shard: int, partition: int, expected: Position, deltas: ShardDeltas) -> int | None:
    """Apply the deltas of one partition; returns the shard's offset if it differs from the expected one."""
    update = ShardUpdate.of({partition: (expected, deltas)})
    mismatch = await store.apply(shard, update)
    if mismatch is None:
        return None
    assert mismatch[0] == partition
    return mismatch[1]


async def apply_all(store: WindowStore, entries: list[Entry], end: int, partition: int = 0) -> None:
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        at = (await store.positions(shard, [partition]))[partition]
        assert await apply(store, shard, partition, at, reduced(store, shard, entries, at, end)) is None


async def test_what_is_applied_can_be_read(store: WindowStore) -> None:
    await apply_all(store, [entry(0, 1), entry(1, 59.999, "anger", 0.5), entry(2, 60)], end=3)

    windows = await store.read(keyword=KEYWORD)

    assert [(w.start, w.count) for w in windows] == [(from_ms(START + 60_000), 1), (from_ms(START), 2)]
    first = windows[1]
    assert {label: (s.count, s.pct, s.mean_confidence) for label, s in first.labels.items()} == {
        "anger": (1, 50.0, 0.5),
        "joy": (1, 50.0, 0.75),
    }
    assert (first.first_event, first.last_event) == (from_ms(START + 1_000), from_ms(START + 59_999))
    assert (first.models, first.sources, first.final, first.late) == ({"1.0.0": 2}, {"test": 2}, False, 0)
    assert {w.keyword for w in await store.read()} == {"*", KEYWORD}


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
    deltas = reduced(store, shard, [entry(0, 2)], Position(), 1)
    update = ShardUpdate.of({partition: (Position(), deltas) for partition in (0, 1, 2)})
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


async def test_too_late_posts_are_counted_once(store: WindowStore) -> None:
    late = entry(1, 0)
    await apply_all(store, [entry(0, 7_200), late, entry(2, 7_201)], end=3)

    assert await store.counters() == ({60: 1}, {}, {}, 0)
    assert sum(window.count for window in await store.read(keyword="*")) == 2


async def test_every_window_can_be_published_again(store: WindowStore) -> None:
    await apply_all(store, [entry(0, 1), entry(1, 61)], end=2)
    for shard in range(store.shards):
        await store.clear_dirty(shard, await store.dirty(shard, 100))
        assert await store.dirty_count(shard) == 0
    marked = [await store.mark_all_dirty(shard) for shard in range(store.shards)]
    assert sum(marked) == 4
    assert [await store.dirty_count(shard) for shard in range(store.shards)] == marked


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


def of(offset: int, seconds: float, *keywords: str, label: str = "joy") -> Entry:
    return Entry(offset, entry(offset, seconds, label).post._replace(keywords=keywords))


async def test_a_limit_returns_the_latest_windows(store: WindowStore) -> None:
    words = [f"word-{number}" for number in range(30)]
    posts = [of(minute, 60 * minute, *words[: 30 - minute]) for minute in range(5)]
    await apply_all(store, posts, end=5)
    everything = await store.read(size=60)
    assert len(everything) == sum(1 + 30 - minute for minute in range(5))
    assert [(w.keyword, w.start) for w in everything[:2]] == [
        ("*", from_ms(START + 240_000)),
        ("word-0", from_ms(START + 240_000)),
    ]
    for limit in (1, 5, 26, 27, 40, 1_000):
        assert await store.read(size=60, limit=limit) == everything[:limit]
    late = [window for window in everything if window.keyword == "word-27"]
    assert len(late) == 3
    assert await store.read(size=60, keyword="word-27") == late
    assert await store.read(size=60, keyword="word-27", limit=2) == late[:2]
    assert await store.read(size=60, keyword="word-27", since_ms=START + 60_000) == late[:2]
    assert await store.read(size=60, keyword="nobody's") == []
    assert {window.size for window in await store.read()} == {60}, "only one size was counted"
    assert await store.read(size=3_600) == []


async def test_sliding_windows_sum_the_last_windows(store: WindowStore) -> None:
    # Posts in the minutes 0, 1, 3 and 5; the last one has no post about coffee.
    posts = [of(0, 10, "coffee"), of(1, 70, "coffee", "tea"), of(2, 190, "coffee", label="anger"), of(3, 300, "tea")]
    await apply_all(store, posts, end=4)
    everything, coffee, tea = await store.sliding(60, 5)
    assert [(w.keyword, w.count) for w in (everything, tea, coffee)] == [("*", 3), ("tea", 2), ("coffee", 2)]
    assert (everything.start, everything.end) == (from_ms(START + 60_000), from_ms(START + 360_000))
    assert {label: (stats.count, stats.pct) for label, stats in coffee.labels.items()} == {
        "anger": (1, 50.0),
        "joy": (1, 50.0),
    }
    assert (coffee.first_event, coffee.last_event) == (from_ms(START + 70_000), from_ms(START + 190_000))
    assert not everything.final
    assert [w.count for w in await store.sliding(60, 6, keyword="coffee")] == [3]
    assert await store.sliding(60, 1, keyword="coffee") == []
    assert await store.sliding(60, 5, limit=1) == [everything]
    assert await store.sliding(3_600, 5) == []


async def test_the_keywords_with_most_posts_in_the_latest_window(store: WindowStore) -> None:
    assert await store.top_keywords(60, 9) == []
    words = [f"word-{number % 300}" for number in range(451)]
    await apply_all(
        store, [of(0, 70, "earlier", "earlier too"), *(of(i, 130, w) for i, w in enumerate(words, 1))], end=452
    )
    found = await store.top_keywords(60, 5)
    assert [(key.keyword, row["n"]) for key, row in found] == [
        ("*", "451"),
        *((f"word-{number}", "2") for number in (0, 1, 10, 100)),
    ]
    assert {key.start for key, _ in found} == {START + 120_000}
    assert len(await store.top_keywords(60, 1_000)) == 301
    assert await store.top_keywords(3_600, 5) == []


async def test_each_size_has_a_retention_of_its_own(settings: Settings, store: WindowStore) -> None:
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        at = Position()
        sizes = [WindowSize(60, 3_600), WindowSize(3_600, 7_200)]
        deltas = reduce_entries([of(0, 1)], positions=[at] * store.shards, end=1, sizes=sizes)[shard]
        assert await apply(store, shard, 0, at, deltas) is None
        await store.clear_dirty(shard, await store.dirty(shard, 100))
        await store.expire(shard, 60, START + 60_000)
        await store.expire(shard, 3_600, START + 60_000)
    assert [window.size for window in await store.read()] == [3_600]
    assert await store.counters() == ({}, {60: 1}, {}, 0)
