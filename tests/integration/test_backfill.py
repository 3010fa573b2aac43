"""A backfill finds what Postgres lacks, and fills what Kafka or Redis still has."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.errors import PositionError
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.errors import BackfillBusyError
from streams.gate.cpu_aware import OpenGate
from streams.ops.demo.processes import clean_environment
from streams.records import ClassifiedPost, DeadPost
from streams.settings import Settings
from streams.sink.backfill import windows as windows_module
from streams.sink.backfill.holes import Findings, HoleKind
from streams.sink.backfill.run import Backfill
from streams.sink.history import History
from streams.sink.runner import open_sink
from streams.windows.store import WindowStore
from tests.helpers import NOON
from tests.integration.support import wait_for
from tests.integration.test_sink import classified, query, record_of
from tests.integration.window_store_support import apply_all, entry

POSTS = 400


@pytest.fixture
def history(settings: Settings) -> Iterator[History]:
    opened = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    yield opened
    opened.close()


def feed(producer: ConfirmedProducer, settings: Settings, posts: Sequence[ClassifiedPost]) -> None:
    producer.submit([record_of(settings, post) for post in posts]).result(120)


def write(settings: Settings) -> None:
    """Write all records that Kafka has to Postgres."""
    with open_sink(settings, gate=OpenGate()) as sink:
        sink.run(threading.Event(), once=True)


@pytest.fixture
def written(settings: Settings, producer: ConfirmedProducer) -> Sequence[ClassifiedPost]:
    """Posts in all partitions and of three days, a tenth of them delivered twice; all are in Postgres."""
    posts = [classified(i // 4, i % 4, created_at=NOON + timedelta(days=i % 3, seconds=i)) for i in range(POSTS)]
    feed(producer, settings, [*posts, *posts[: POSTS // 10]])
    write(settings)
    assert contents(settings) == wanted(posts)
    return posts


def wanted(posts: Sequence[ClassifiedPost]) -> list[tuple[object, ...]]:
    return sorted((post.origin.partition, post.origin.offset, post.id, post.label) for post in posts)


def contents(settings: Settings) -> list[tuple[object, ...]]:
    return query(settings, "SELECT origin_partition, origin_offset, id, label FROM posts ORDER BY 1, 2")


def check(settings: Settings, history: History) -> Findings:
    return Backfill(settings, history).run(fill=False)


def fill(settings: Settings, history: History) -> Findings:
    findings = Backfill(settings, history).run(fill=True)
    history.close()
    return findings


def expire(settings: Settings, topic: str, partition: int, before: int) -> None:
    """Delete the records below an offset from Kafka, as its retention does."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        future.result(120)


def test_nothing_is_missing_after_a_clean_run(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    findings = check(settings, history)
    assert findings.complete
    assert (findings.rows, findings.holes) == (POSTS, [])


def test_deleted_rows_are_found_and_written_again(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "DELETE FROM posts WHERE origin_partition < 2 AND origin_offset % 10 = 3")
    found = check(settings, history)
    assert [(hole.kind, hole.span.partition, hole.rows) for hole in found.holes] == [
        (HoleKind.MISSING, 0, 10),
        (HoleKind.MISSING, 1, 10),
    ]
    assert contents(settings) != wanted(written), "a check changes nothing"
    assert fill(settings, history).rows_filled == 20
    assert contents(settings) == wanted(written)
    assert check(settings, history).complete


def test_a_truncated_day_is_filled(settings: Settings, history: History, written: Sequence[ClassifiedPost]) -> None:
    query(settings, "TRUNCATE posts_20260302")
    assert sum(hole.rows or 0 for hole in check(settings, history).holes) == pytest.approx(POSTS / 3, abs=1)
    fill(settings, history)
    assert contents(settings) == wanted(written)
    assert check(settings, history).complete


def test_a_dropped_day_is_created_and_filled(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "DROP TABLE posts_20260303")
    fill(settings, history)
    assert contents(settings) == wanted(written)


def test_changed_rows_are_found_and_written_again(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "UPDATE posts SET label = 'fear' WHERE (origin_partition, origin_offset) = (3, 7)")
    assert [(hole.kind, hole.span.partition) for hole in check(settings, history).holes] == [(HoleKind.CHANGED, 3)]
    fill(settings, history)
    assert contents(settings) == wanted(written)
    assert check(settings, history).complete


def test_a_range_that_was_skipped_is_filled(
    settings: Settings, history: History, producer: ConfirmedProducer, written: Sequence[ClassifiedPost]
) -> None:
    more = [classified(1_000 + i, 1) for i in range(60)]
    unreadable = Outgoing(settings.topic_classified, b"{broken", partition=1)
    feed(producer, settings, more[:30])
    producer.submit([unreadable]).result(120)
    feed(producer, settings, more[30:])
    [[next_offset]] = query(
        settings, "SELECT next_offset FROM sink_offsets WHERE topic LIKE '%classified' AND partition = 1"
    )
    query(
        settings,
        "UPDATE sink_offsets SET next_offset = next_offset + 61 WHERE topic LIKE '%classified' AND partition = 1",
    )
    feed(producer, settings, [classified(2_000, 1)])
    write(settings)
    (hole,) = check(settings, history).holes
    assert (hole.kind, hole.span.start, hole.span.end) == (HoleKind.SKIPPED, next_offset, int(str(next_offset)) + 61)
    fill(settings, history)
    assert contents(settings) == wanted([*written, *more, classified(2_000, 1)])
    assert check(settings, history).complete
    scan = TopicScan(kafka_config(settings), settings.topic_dead, group=scan_group(settings))
    letters = [DeadPost.from_json(message.value() or b"") for message in scan.messages()]
    scan.close()
    assert [letter.raw_bytes for letter in letters] == [7], "the sink has not dead-lettered records that it skipped"


def test_a_hole_that_kafka_has_deleted_is_a_gap(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "DELETE FROM posts WHERE origin_partition = 2 AND origin_offset IN (15, 50)")
    expire(settings, settings.topic_classified, 2, 20)
    expire(settings, settings.topic_classified, 3, 20)
    (hole,) = check(settings, history).holes
    assert (hole.rows, hole.expired and hole.expired.end, hole.held and hole.held.start) == (2, 20, 20)
    findings = fill(settings, history)
    assert findings.rows_filled == 1
    gaps = "SELECT partition, first_offset, next_offset, reason, records FROM sink_gaps"
    assert query(settings, gaps) == [(2, hole.span.start, 20, "lost", 1)]
    gone = [post for post in written if (post.origin.partition, post.origin.offset) == (2, 15)]
    assert contents(settings) == wanted([post for post in written if post not in gone])
    assert check(settings, history).complete, "a gap is found only once"
    assert query(settings, gaps) == [(2, hole.span.start, 20, "lost", 1)]


def test_records_that_kafka_deleted_before_they_were_written_are_a_gap(
    settings: Settings, history: History, producer: ConfirmedProducer, written: Sequence[ClassifiedPost]
) -> None:
    [[next_offset]] = query(
        settings, "SELECT next_offset FROM sink_offsets WHERE topic LIKE '%classified' AND partition = 0"
    )
    feed(producer, settings, [classified(1_000 + i, 0) for i in range(40)])
    expire(settings, settings.topic_classified, 0, int(str(next_offset)) + 25)
    write(settings)
    assert query(settings, "SELECT partition, first_offset, next_offset, reason FROM sink_gaps") == [
        (0, next_offset, int(str(next_offset)) + 25, "expired")
    ]
    assert contents(settings) == wanted([*written, *(classified(1_000 + i, 0) for i in range(25, 40))])
    assert check(settings, history).complete


def test_a_restored_older_dump_is_filled_from_its_end_on(
    settings: Settings, history: History, producer: ConfirmedProducer, written: Sequence[ClassifiedPost]
) -> None:
    """A dump restores the rows, the offsets and the ledger together."""
    tables = ("posts", "sink_offsets", "sink_ledger")
    for table in tables:
        query(settings, f"CREATE TABLE dump_{table} AS SELECT * FROM {table}")
    more = [classified(1_000 + i, i % 4) for i in range(80)]
    feed(producer, settings, more)
    write(settings)
    for table in tables:
        query(settings, f"TRUNCATE {table}; INSERT INTO {table} SELECT * FROM dump_{table}")
    write(settings)
    assert contents(settings) == wanted([*written, *more])
    assert check(settings, history).complete


def test_a_restored_dump_of_the_rows_alone_is_filled(
    settings: Settings, history: History, producer: ConfirmedProducer, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "CREATE TABLE dump_posts AS SELECT * FROM posts")
    more = [classified(1_000 + i, i % 4) for i in range(80)]
    feed(producer, settings, more)
    write(settings)
    query(settings, "TRUNCATE posts; INSERT INTO posts SELECT * FROM dump_posts")
    assert fill(settings, history).rows_filled == 80
    assert contents(settings) == wanted([*written, *more])


def test_only_one_process_fills_at_a_time(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    other = History(settings.postgres_dsn.get_secret_value(), application_name="test")
    assert other.try_lock_backfill()
    with pytest.raises(BackfillBusyError, match="another process"):
        fill(settings, history)
    other.close()
    # The server releases the lock a moment after the session ended.
    wait_for(history.try_lock_backfill, what="the lock outlives its connection")
    fill(settings, history)


def test_a_topic_that_was_created_again_is_refused(
    settings: Settings, history: History, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "UPDATE sink_offsets SET next_offset = 5000 WHERE partition = 0")
    with pytest.raises(PositionError, match="created again"):
        fill(settings, history)


def run_backfill(env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams", "backfill", *options],
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_command_names_what_is_missing(
    env: dict[str, str], settings: Settings, written: Sequence[ClassifiedPost]
) -> None:
    query(settings, "DELETE FROM posts WHERE origin_partition = 0 AND origin_offset = 3")
    looked = run_backfill(env, "--check")
    assert looked.returncode == 1
    assert re.search(rf"^{settings.topic_classified}\[0\] 0 to \d+: missing, 1 row$", looked.stdout, re.M)
    hint = "`emostream backfill` writes those that can be read again"
    assert looked.stderr == f"emostream: error: Postgres lacks rows or windows; {hint}\n"

    filled = run_backfill(env, "--force", "--json")
    assert (filled.returncode, filled.stderr) == (0, "")
    found = json.loads(filled.stdout)
    assert (found["rows_filled"], found["holes"][0]["kind"], found["gaps"]) == (1, "missing", [])
    assert contents(settings) == wanted(written)
    assert run_backfill(env, "--check").returncode == 0


async def test_windows_are_copied_from_redis(
    settings: Settings, history: History, store: WindowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker publishes these windows, so that Postgres can have them from Redis only."""
    monkeypatch.setattr(windows_module, "SLACK_MS", 0)
    await apply_all(store, [entry(0, 1), entry(1, 59.999, "anger", 0.5), entry(2, 60)], end=3)
    in_redis = {(w.keyword, w.start): (w.count, w.revision) for w in await store.read()}
    assert len(in_redis) == 4
    stored = "SELECT keyword, start_at, posts, revision FROM emotion_windows"
    labels = "SELECT sum(posts) FROM emotion_window_labels"

    def copied() -> bool:
        return {(row[0], row[1]): row[2:] for row in query(settings, stored)} == in_redis and query(
            settings, labels
        ) == [(6,)]

    found = await asyncio.to_thread(check, settings, history)
    assert (found.windows, found.windows_missing, found.windows_outdated, found.complete) == (4, 4, 0, False)
    found = await asyncio.to_thread(fill, settings, history)
    assert found.windows_filled == 4
    assert copied()

    query(settings, "UPDATE emotion_windows SET revision = revision - 1, posts = posts WHERE keyword = '*'")
    query(settings, "DELETE FROM emotion_window_labels WHERE label = 'anger' AND keyword <> '*'")
    found = await asyncio.to_thread(fill, settings, history)
    assert (found.windows_missing, found.windows_outdated, found.windows_filled) == (1, 2, 3)
    assert copied()
    assert (await asyncio.to_thread(check, settings, history)).complete


async def test_windows_that_the_sink_is_still_to_write_are_not_missing(
    settings: Settings, history: History, store: WindowStore
) -> None:
    await apply_all(store, [entry(0, 1)], end=1)
    found = await asyncio.to_thread(check, settings, history)
    assert (found.windows, found.windows_missing, found.complete) == (2, 0, True)
