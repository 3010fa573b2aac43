"""The audit finds each kind of violation, and names it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from connectors.errors import RejectedError
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.ops.audit import audit_until_balanced
from streams.records import ClassifiedPost, DeadPost, DeadReason, Origin, Sentiment, from_ms
from streams.settings import Settings
from streams.window_sizes import format_duration
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey, shard_of, window_start
from tests.helpers import classified
from tests.integration.audit_support import System
from tests.integration.support import TIMEOUT_S, failures
from tests.integration.test_sink import query

DAY_MS = 86_400_000
DAY = window_start(int(time.time() * 1_000), 86_400) - 4 * DAY_MS
"""The first of three days with posts. Its start is the start of a window of every size."""

SIZES = (60, 300, 3_600, 86_400)


def posts(count: int, *, first: int = 0, partition: int = 0, at: int = DAY) -> list[ClassifiedPost]:
    """Posts of three keywords, three labels, two sentiments and two sources; one a second."""
    return [
        classified(
            first + i,
            at=at + i * 1_000,
            partition=partition,
            keywords=("coffee", f"ra|in {i % 2}"),
            label=("joy", "anger", "fear")[i % 3],
            confidence=0.5 + i % 7 / 100,
            sentiment=(None, Sentiment("positive", 0.25), Sentiment("negative", -0.75))[i % 3],
            source=f"source {i % 2}",
        )
        for i in range(count)
    ]


@pytest.fixture
async def system(env: dict[str, str], settings: Settings, store: WindowStore, producer: ConfirmedProducer) -> System:
    """Posts of three days and two partitions are in all parts of the system."""
    found = System(settings, store, producer)
    await found.add([post for day in range(3) for post in posts(20, first=20 * day, at=DAY + day * DAY_MS)])
    await found.add(posts(30, partition=1, at=DAY + 10_000))
    await found.publish()
    return found


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    """No window expires while a test fills the system, unless the test says so."""
    return {**env, "EMOSTREAM_WINDOW_SIZES": "1m:30d,5m:30d,1h:30d,1d:400d"}


def delete_before(settings: Settings, topic: str, partition: int, offset: int) -> None:
    """Delete records, as retention does."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for future in admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(120)


def named(keyword: str, day: int = 0) -> str:
    return f"{keyword} {from_ms(DAY + day * DAY_MS).rfc3339()}"


def redis_key(store: WindowStore, keyword: str, size: int, day: int = 0) -> tuple[str, str, str]:
    """Returns the key of a window's hash, that of its index, and its name there."""
    shard, member = shard_of(keyword, store.shards), WindowKey(keyword, size, DAY + day * DAY_MS).member()
    return store._window_key(shard, member), store._index(shard, size), member


def change(settings: Settings, statement: str, keyword: str, size: int, day: int = 0) -> None:
    """Run a statement on the rows of a window in Postgres."""
    start = from_ms(DAY + day * DAY_MS).rfc3339()
    query(settings, f"{statement} WHERE (keyword, size_s, start_at) = ('{keyword}', {size}, '{start}')")


async def test_all_is_well(system: System) -> None:
    checks = await system.audit()
    assert [name for name, check in checks.items() if not check.ok] == []
    assert {check.expected for name, check in checks.items() if name.endswith("= classified")} == {90}


async def test_a_post_that_was_delivered_twice_counts_once(system: System) -> None:
    more = [classified(60, at=DAY + 2 * DAY_MS + 30_000)]
    again = posts(20, first=40, at=DAY + 2 * DAY_MS)[-5:]
    system.produce(1)
    system.classify([*again, *more])
    await system.count([*again, *more])
    await system.publish()
    await system.assert_balanced()


@pytest.mark.parametrize("keywords", [("*", "coffee"), ("coffee", "ra|in 1")])
async def test_each_violation_in_redis_is_named(system: System, keywords: tuple[str, str]) -> None:
    store, (one, other) = system.store, keywords
    for size in SIZES:
        gone, index, member = redis_key(store, one, size)
        await store._redis.delete(gone)
        await store._redis.zrem(index, member)
        await store._redis.hincrby(redis_key(store, other, size, day=1)[0], "n", 3)
        source, _, _ = redis_key(store, "coffee", size, day=2)
        extra, index, member = redis_key(store, "nobody", size, day=2)
        await store._redis.hset(extra, mapping=await store._redis.hgetall(source))
        await store._redis.zadd(index, {member: DAY + 2 * DAY_MS + size * 1_000})
    failed = await system.failed()
    assert list(failed) == [f"{format_duration(size)} windows in Redis = classified" for size in SIZES]
    for note in failed.values():
        assert f"1 missing: {named(one)}" in note
        assert f"1 extra: {named('nobody', 2)}" in note
        assert f"1 changed: {named(other, 1)} (" in note


async def test_a_field_that_is_no_number_is_an_error_of_one_line(system: System) -> None:
    await system.store._redis.hset(redis_key(system.store, "coffee", 60)[0], "n", "many")
    with pytest.raises(RejectedError, match="a window in Redis has a field that is not a whole number"):
        await system.audit()


@pytest.mark.parametrize("keywords", [("*", "coffee"), ("coffee", "ra|in 1")])
async def test_each_violation_in_postgres_is_named(system: System, keywords: tuple[str, str]) -> None:
    one, other = keywords
    for size in SIZES:
        for table in ("emotion_windows", "emotion_window_labels", "emotion_window_sentiments"):
            change(system.settings, f"DELETE FROM {table}", one, size)
        change(system.settings, "UPDATE emotion_windows SET posts = posts + 3", other, size, day=1)
        change(system.settings, "UPDATE emotion_windows SET keyword = 'nobody'", "ra|in 0", size, day=2)
    failed = await system.failed()
    assert list(failed) == [f"{format_duration(size)} windows in Postgres = classified" for size in SIZES]
    for note in failed.values():
        assert named(one) in note.partition("missing: ")[2].partition(";")[0]
        assert f"1 extra: {named('nobody', 2)}" in note
        assert f"{named(other, 1)} (" in note.partition("changed: ")[2].partition(";")[0]


async def test_each_sum_of_a_window_in_redis_is_compared(system: System) -> None:
    key, _, _ = redis_key(system.store, "coffee", 300)
    for name in ("n", "l:joy", "l:new", "c:anger", "t:positive", "ts", "m:1.0.0", "s:source 1"):
        await system.store._redis.hincrby(key, name, 1)
        failed = await system.failed()
        assert list(failed) == ["5m windows in Redis = classified"], name
        assert f"1 changed: {named('coffee')}" in next(iter(failed.values())), name
        await system.store._redis.hincrby(key, name, -1)
        await system.store._redis.hdel(key, "l:new")
    await system.assert_balanced()


async def test_each_column_of_a_window_in_postgres_is_compared(system: System) -> None:
    for table, column, other in [
        ("windows", "posts", "posts + 1"),
        ("windows", "end_at", "end_at + interval '1 s'"),
        ("windows", "mean_sentiment", "mean_sentiment + 0.001"),
        ("windows", "mean_sentiment", "NULL"),
        ("windows", "mean_sentiment", "'nan'"),
        ("windows", "models", """models || '{"2.0.0": 1}'"""),
        ("windows", "sources", "sources - 'source 1'"),
        ("windows", "first_event", "first_event - interval '1 ms'"),
        ("windows", "last_event", "last_event + interval '1 ms'"),
        ("windows", "late", "late + 1"),
        ("window_labels", "posts", "posts + 1"),
        ("window_labels", "label", "label || 'ful'"),
        ("window_labels", "percent", "percent + 0.01"),
        ("window_labels", "mean_confidence", "mean_confidence - 0.001"),
        ("window_sentiments", "posts", "posts + 1"),
        ("window_sentiments", "percent", "percent + 0.01"),
    ]:
        query(system.settings, f"CREATE TABLE kept AS SELECT * FROM emotion_{table}")
        change(system.settings, f"UPDATE emotion_{table} SET {column} = {other}", "coffee", 3_600, day=1)
        failed = await system.failed()
        assert list(failed) == ["1h windows in Postgres = classified"], column
        assert f"1 changed: {named('coffee', 1)}" in next(iter(failed.values())), column
        query(system.settings, f"DELETE FROM emotion_{table}")
        query(system.settings, f"INSERT INTO emotion_{table} SELECT * FROM kept")
        query(system.settings, "DROP TABLE kept")
    await system.assert_balanced()


async def test_raw_posts_that_were_deleted_before_they_had_a_result_are_named(system: System) -> None:
    system.produce(25)
    delete_before(system.settings, system.settings.topic_raw, 0, 80)
    failed = await system.failed()
    assert failed["deleted from the raw topic without a result"] == "offsets 0@60 to 0@79"


async def test_a_partition_whose_posts_were_all_deleted_unread(system: System) -> None:
    system.produce(10, partition=2)
    delete_before(system.settings, system.settings.topic_raw, 2, 10)
    assert await system.failed() == {"deleted from the raw topic without a result": "offsets 2@0 to 2@9"}


async def test_raw_posts_that_were_deleted_after_they_had_a_result_are_no_gap(system: System) -> None:
    delete_before(system.settings, system.settings.topic_raw, 0, 55)
    await system.assert_balanced()


async def test_results_that_were_deleted_too_are_no_gap(system: System) -> None:
    delete_before(system.settings, system.settings.topic_raw, 0, 55)
    delete_before(system.settings, system.settings.topic_classified, 0, 50)
    await system.assert_balanced()


async def test_a_dead_letter_of_more_posts_than_there_are_is_named(
    system: System, settings: Settings, producer: ConfirmedProducer
) -> None:
    """Anybody who may write to the topic can write it; the audit does not count up to its last offset."""
    origin = Origin(settings.topic_raw, 1, 30)
    letter = replace(DeadPost.of(None, None, origin, DeadReason.UNREADABLE_BATCH, "foreign"), last_offset=2**62)
    producer.submit([Outgoing(settings.topic_dead, letter.to_json())]).result(TIMEOUT_S)
    assert list(await system.failed()) == ["produced = classified + dead-lettered"]


async def test_a_record_that_names_a_post_that_never_was_is_named(system: System) -> None:
    """The posts behind it have lower origins, so that they count as repetitions."""
    system.classify([classified(10**6)])
    topics = system.settings
    note = (await system.failed())["produced = classified + dead-lettered"]
    assert f"{topics.topic_classified}[0]@60 names {topics.topic_raw}[0]@1000000, which never was" in note


async def test_a_record_of_another_partition_is_in_no_part_of_the_system(
    system: System, producer: ConfirmedProducer
) -> None:
    """The sink and the audit leave it out, as the worker does."""
    settings = system.settings
    moved = replace(classified(10, keywords=("coffee",), at=DAY), origin=Origin(settings.topic_raw, 1, 10))
    producer.submit([Outgoing(settings.topic_classified, moved.to_json(), b"moved", 0)]).result(120)
    await system.publish()
    assert query(settings, "SELECT count(*) FROM posts") == [(90,)]
    await system.assert_balanced()


async def test_a_gap_of_the_sink_is_named(system: System) -> None:
    query(
        system.settings,
        "INSERT INTO sink_gaps (topic, partition, first_offset, next_offset, reason) "
        f"VALUES ('{system.settings.topic_classified}', 0, 5, 9, 'expired')",
    )
    checks = await system.audit()
    gap = checks["deleted before the sink wrote them"]
    assert (gap.ok, gap.found) == (False, 4)
    query(system.settings, "UPDATE sink_gaps SET known_at = now()")
    await system.assert_balanced()


async def test_a_row_that_postgres_lacks_is_found(system: System) -> None:
    query(system.settings, "DELETE FROM posts WHERE origin_partition = 1 AND origin_offset = 7")
    assert list(await system.failed()) == ["rows in Postgres = classified"]


async def test_windows_that_kafka_no_longer_holds_are_compared_between_the_stores(system: System) -> None:
    delete_before(system.settings, system.settings.topic_raw, 0, 30)
    delete_before(system.settings, system.settings.topic_classified, 0, 30)
    await system.assert_balanced()
    change(system.settings, "UPDATE emotion_window_labels SET posts = posts + 1", "coffee", 60)
    await system.store._redis.delete(redis_key(system.store, "*", 300, day=1)[0])
    failed = await system.failed()
    assert f"changed: {named('coffee')}" in failed["1m windows in Postgres = classified"]
    assert f"extra: {named('*', 1)}" in failed["5m windows in Postgres = classified"]


async def expire(store: WindowStore, size: int, before: int) -> None:
    for shard in range(store.shards):
        while await store.expire(shard, size, before):
            pass


async def test_windows_that_have_left_redis_are_compared_in_postgres(system: System) -> None:
    for size in (60, 3_600):
        await expire(system.store, size, DAY + DAY_MS)
    await system.assert_balanced()
    change(system.settings, "UPDATE emotion_window_labels SET posts = posts + 1", "coffee", 60)
    change(system.settings, "DELETE FROM emotion_windows", "coffee", 3_600)
    failed = await system.failed()
    assert list(failed) == [f"{size} windows in Postgres = classified" for size in ("1m", "1h")]
    assert f"1 changed: {named('coffee')}" in failed["1m windows in Postgres = classified"]


async def test_a_post_that_came_after_its_window_was_removed_is_no_violation(system: System) -> None:
    """Its partition is behind the others, so by its own partition it is not too late."""
    await expire(system.store, 60, DAY + DAY_MS)
    await system.add(posts(3, partition=3, at=DAY + 3_000))
    await system.publish()
    checks = await system.audit()
    assert [name for name, check in checks.items() if not check.ok] == []
    assert checks["1m windows in Postgres = classified"].note == "3 too late"
    change(system.settings, "UPDATE emotion_windows SET posts = posts - 3", "ra|in 0", 60)
    assert f"changed: {named('ra|in 0')}" in (await system.failed())["1m windows in Postgres = classified"]


async def test_waiting_reads_each_record_once(system: System) -> None:
    """A result is missing at first, and comes while the audit waits."""
    system.produce(1)
    read: list[tuple[str, int]] = []
    waits: list[str] = []
    waiting = asyncio.Event()
    late = [classified(60, at=DAY + 2 * DAY_MS + 30_000)]

    def on_progress(topic: str, done: int, total: int) -> None:
        if done == total:
            read.append((topic, total))

    def on_wait(text: str) -> None:
        if not waits:
            system.classify(late)
        waits.append(text)
        waiting.set()

    async def catch_up() -> None:
        await waiting.wait()
        await system.count(late)
        await asyncio.to_thread(system.publish_read, await system.store.read())
        await system.forget_changes()

    catching_up = asyncio.ensure_future(catch_up())
    checks = await audit_until_balanced(
        system.settings, system.store, on_progress, timeout_s=TIMEOUT_S, on_wait=on_wait
    )
    await catching_up
    assert failures(checks) == []
    assert "1 post to classify" in waits[0]
    totals = Counter[str]()
    for topic, total in read:
        totals[topic] += total
    assert totals == {system.settings.topic_raw: 91, system.settings.topic_classified: 91}
