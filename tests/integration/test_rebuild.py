"""A rebuild makes the windows right again while workers run, and keeps what it cannot count again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from streams.records import rfc3339, to_ms
from streams.settings import Settings
from streams.windows.store import WindowStore
from streams.windows.top import TopKeywords
from streams.windows.tumbling import WindowKey
from tests.chaos.oracle import Content, Key, contents
from tests.chaos.storm import Feed
from tests.integration.rebuild_support import (
    Start,
    Tables,
    caught_up,
    check_topic,
    counted_by_hand,
    differences,
    emostream,
    env,
    posts,
    published,
    rebuilt,
    redis,
    tables,
)
from tests.integration.support import TIMEOUT_S, offsets, produce, wait_for
from tests.integration.valkey_node import ValkeyNode

__all__ = ["env", "redis", "tables"]  # fixtures


@pytest.mark.parametrize("env", ["one server", "cluster"], indirect=True)
async def test_a_rebuild_repairs_damaged_windows_while_posts_flow(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start, tables: Tables
) -> None:
    worker, sink = start("worker"), start("sink")
    feed = Feed(settings, 375, 1, seed=7, endless=True)
    feed.start()
    wait_for(lambda: min(map(tables.windows, ("keyword-0", "*"))) > 0, what="nothing is counted")
    minutes = sorted({window.start for window in await store.read(keyword="*", size=60)})
    some = [WindowKey("*", size, to_ms(minutes[-1]) // (size * 1_000) * size * 1_000) for size in (60, 300, 86_400)]
    phantom = WindowKey("nobody's", 300, some[1].start)
    tables.falsify(some[0])
    tables.falsify(some[1])
    tables.delete(some[2])
    tables.invent(some[0], phantom)
    wait_for(lambda: "nobody's" in str(published(settings).keys()), what="the phantom is not published")

    summary = await asyncio.to_thread(rebuilt, env)

    await asyncio.to_thread(feed.stop)
    await caught_up(settings, store, [worker, sink])
    assert store.generation == summary["generation"] == 1
    assert (summary["empty"], summary["posts"] > 0) == (1, True)
    assert 4 <= summary["changed"] < summary["windows"], "right windows did not change"
    assert differences(await store.read(), counted_by_hand(settings).windows) == []
    await check_top(store)
    (empty,) = [window for window in await store.read() if not window.count]
    assert (empty.keyword, empty.labels, empty.first_event) == ("nobody's", {}, empty.start)
    await check_topic(settings, store)
    wait_for(
        lambda: rows(settings, "SELECT posts FROM emotion_windows WHERE keyword = 'nobody''s'") == [(0,)],
        what="Postgres does not learn that there is no such window",
    )
    assert rows(settings, "SELECT count(*) FROM emotion_window_labels WHERE keyword = 'nobody''s'") == [(0,)]
    assert tables.left_over() == []
    shown = await asyncio.to_thread(emostream, env, "windows", "--keyword", "nobody's", "--size", "all")
    assert (shown.returncode, shown.stderr) == (0, "")
    again = await asyncio.to_thread(rebuilt, env)
    await store.refresh()
    assert (again["changed"], again["empty"], again["windows"]) == (0, 0, len(await store.read()))
    for role in (worker, sink):
        assert await asyncio.to_thread(role.stop) == 0
        assert "Traceback" not in await asyncio.to_thread(role.log.read_text)


async def check_top(store: WindowStore) -> None:
    """Check that the top keywords are those of the latest day."""
    days = await store.read(size=86_400)
    top = [(key.keyword, int(row["n"])) for key, row in await TopKeywords(store).read(10_000)]
    assert top == [(day.keyword, day.count) for day in days if day.end == days[0].end]


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return connection.execute(query).fetchall()


async def test_a_range_leaves_all_other_windows_as_they_are(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start, tables: Tables
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(hours=hours) for hours in (40, 30, 20, 10)]
    worker, sink = start("worker"), start("sink")
    for day in days:
        produce(settings, posts(200, day), partition=1)
    await caught_up(settings, store, [worker, sink])
    before = {window.key: window for window in await store.read()}
    for day in (days[1], days[3]):
        tables.falsify(WindowKey("coffee", 60, to_ms(day)))
    since, until = days[1], days[1] + timedelta(hours=1)

    summary = await asyncio.to_thread(rebuilt, env, "--from", rfc3339(since), "--to", until.isoformat())

    await store.refresh()
    after = {window.key: window for window in await store.read()}
    falsified = WindowKey("coffee", 60, to_ms(days[3]))
    assert after.keys() == before.keys()
    changed = {key for key in after if after[key] != before[key]}
    assert len(changed) == 2
    repaired = f"coffee|60|{rfc3339(days[1])}"
    assert after[repaired].count == before[repaired].count
    assert after[repaired].revision > before[repaired].revision
    assert after[f"coffee|60|{rfc3339(days[3])}"].count == 1_060, "outside the range"
    assert summary["changed"] == 1
    await check_top(store)
    counters = await store.counters()
    # New posts find the same positions, and are added to the wrong window.
    produce(settings, posts(60, days[3]), partition=1)
    wait_for(lambda: tables.client.hget(tables.window(falsified), "n") == "1120", what="nothing is counted")
    assert await store.counters() == counters
    repaired_last = await asyncio.to_thread(rebuilt, env, "--from", days[3].isoformat())
    assert repaired_last["changed"] >= 1
    await caught_up(settings, store, [worker, sink])
    assert differences(await store.read(), counted_by_hand(settings).windows) == []
    await check_topic(settings, store)


@pytest.mark.parametrize("workers", ["run", "are stopped", "are stopped, with initialised tables"])
async def test_a_rebuild_reads_from_postgres_what_kafka_has_lost(
    env: dict[str, str],
    settings: Settings,
    store: WindowStore,
    start: Start,
    redis: ValkeyNode,
    tables: Tables,
    workers: str,
) -> None:
    running = workers == "run"
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    worker, sink = start("worker"), start("sink")
    for hours in range(4):
        produce(settings, posts(200, now + timedelta(hours=hours), keyword=f"word-{hours}"))
    await caught_up(settings, store, [worker, sink])
    wanted = contents(await store.read())
    if running:
        # Redis is then emptied while another generation than 0 is current.
        assert (await asyncio.to_thread(rebuilt, env))["changed"] == 0
    lose_the_first(settings, 0.6)
    if not running:
        assert await asyncio.to_thread(worker.stop) == 0
    redis.client.flushall()
    if workers == "are stopped, with initialised tables":
        for shard in range(settings.shards):
            await store.initialise(shard, to_ms(datetime.now(UTC)))

    summary = await asyncio.to_thread(rebuilt, env)

    await store.refresh()
    # Only Postgres has the first 480. Kafka's are counted up to the position of the tables that the worker initialised.
    least, most = {"run": (480, 800), "are stopped": (800, 800)}.get(workers, (480, 480))
    assert least <= summary["posts"] <= most
    if workers == "are stopped":
        assert contents(await store.read()) == wanted
    if not running:
        worker = start("worker")
    # A worker that ran was counting from the beginning when the tables were switched. It counts the rest.
    await reaches(store, wanted)
    assert await store.counters() == ({}, {}, {}, 0)
    produce(settings, posts(100, now, text="buy", keyword="word-0"))
    wait_for(
        lambda: tables.client.hget(tables.window(WindowKey("word-0", 3_600, to_ms(now))), "n") == "300",
        what="an old window takes no correction",
    )
    assert "left Kafka's retention before they were read" not in worker.log.read_text().split("consuming")[-1]
    await check_topic(settings, store)


async def reaches(store: WindowStore, wanted: dict[Key, Content]) -> None:
    """Wait until the windows are these."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        found = contents(await store.read())
        if found == wanted or time.monotonic() > deadline:
            assert found == wanted
            return
        await asyncio.sleep(0.2)


def lose_the_first(settings: Settings, share: float) -> None:
    """Retention takes the first posts, raw and classified, of every partition."""
    client = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    per_partition = int(offsets(settings, settings.topic_classified) / settings.partitions * share)
    wanted = [
        TopicPartition(topic, partition, per_partition)
        for topic in (settings.topic_raw, settings.topic_classified)
        for partition in range(settings.partitions)
    ]
    for future in client.delete_records(wanted).values():
        future.result(120)


async def test_windows_whose_posts_are_lost_are_kept(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start, tables: Tables
) -> None:
    """Kafka has lost the first posts, and Postgres never had them."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    worker = start("worker")
    produce(settings, posts(400, now))
    wait_for(
        lambda: tables.client.hget(tables.window(WindowKey("*", 3_600, to_ms(now))), "n") == "400",
        what="nothing is counted",
    )
    lose_the_first(settings, 0.5)
    await store.refresh()
    before = {window.key: window for window in await store.read()}

    summary = await asyncio.to_thread(rebuilt, env)

    await store.refresh()
    for window in await store.read():
        old = before[window.key]
        # A window may have become final in the meantime.
        assert window == replace(old, final=window.final, revision=window.revision)
        assert window.revision == old.revision or window.final > old.final
    assert (summary["changed"], summary["windows"]) == (0, len(before))
    produce(settings, posts(10, now))
    wait_for(
        lambda: tables.client.hget(tables.window(WindowKey("*", 3_600, to_ms(now))), "n") == "410",
        what="it takes no correction",
    )
    assert await asyncio.to_thread(worker.stop) == 0


async def test_wrong_calls_print_one_line_and_change_nothing(env: dict[str, str], settings: Settings) -> None:
    for arguments, code, says in (
        ((), 1, "there is nothing to rebuild: neither Kafka nor PostgreSQL holds a classified post"),
        (("--from", "2026-03-01"), 1, "the window tables are empty: rebuild them without --from and --to"),
        (("--from", "yesterday"), 2, "'yesterday' is not a date or time"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), 2, "--from must be before --to"),
    ):
        done = await asyncio.to_thread(emostream, env, "windows", "rebuild", *arguments)
        assert done.returncode == code
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert Tables(settings).generation == 0
