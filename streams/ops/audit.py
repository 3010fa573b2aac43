"""The audit: every produced post ends as exactly one of classified and dead-lettered, and is counted once everywhere.

It reads the topics from beginning to end and compares sets of offsets, so it proves the balance rather than trusting
any counter of the workers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Message

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.scan import Bounds, TopicScan
from connectors.postgres import connect, postgres_errors
from streams.connections import kafka_config
from streams.records import ALL_KEYWORDS, OriginOnly, RecordError
from streams.settings import Settings
from streams.topology import check_topics
from streams.window_sizes import format_duration
from streams.windows.store import WindowStore

RETRY_S = 0.5
"""Between two audits while posts are on their way."""

OnProgress = Callable[[str, int, int], None]
"""Told the topic, records read so far, and records in all."""


@dataclass(frozen=True)
class Check:
    """One line of the audit. `note` explains a failure, or why a line cannot be checked (then `ok` is True)."""

    name: str
    expected: int
    found: int
    ok: bool
    note: str = ""


@dataclass
class Outcomes:
    """What the topics hold, by raw partition and offset.

    Attributes:
        produced: offsets of the raw topic.
        classified: origins in the classified topic.
        dead: origins in the dead-letter topic.
        complete: whether Kafka still holds the classified topic from its beginning.
    """

    produced: dict[int, set[int]] = field(default_factory=dict)
    classified: dict[int, set[int]] = field(default_factory=dict)
    dead: dict[int, set[int]] = field(default_factory=dict)
    complete: bool = True


def _size(offsets: Mapping[int, set[int]]) -> int:
    return sum(len(found) for found in offsets.values())


def check_delivery(outcomes: Outcomes, raw: Bounds) -> list[Check]:
    """Check that each produced post ended exactly once. Pure.

    Origins below the raw topic's first offset are left out: retention took their raw posts.
    """
    missing: list[str] = []
    lost = twice = 0
    held = dict.fromkeys(("classified", "dead"), 0)
    for partition, produced in outcomes.produced.items():
        low = raw[partition][0]
        classified = {offset for offset in outcomes.classified.get(partition, set()) if offset >= low}
        dead = {offset for offset in outcomes.dead.get(partition, set()) if offset >= low}
        held["classified"] += len(classified)
        held["dead"] += len(dead)
        twice += len(classified & dead)
        nowhere = produced - classified - dead
        lost += len(nowhere)
        missing += [f"{partition}@{offset}" for offset in sorted(nowhere)[: 5 - len(missing)]]
    note = f"{lost} neither, e.g. {', '.join(missing)}" if lost else ""
    found = held["classified"] + held["dead"]
    ended = Check("produced = classified + dead-lettered", _size(outcomes.produced), found, not lost, note)
    if not lost and found - twice != ended.expected:
        ended = Check(ended.name, ended.expected, found, ok=False, note="results of posts that were never produced")
    return [ended, Check("both classified and dead-lettered", 0, twice, twice == 0)]


def check_count(name: str, classified: int, found: int, *, complete: bool, note: str = "") -> Check:
    """Check that a store holds as many posts as were classified. Pure."""
    if not complete:
        gone = "not comparable: Kafka no longer holds the classified topic from its beginning"
        return Check(name, classified, found, ok=True, note=gone)
    return Check(name, classified, found, classified == found, note)


def read_outcomes(settings: Settings, kafka: KafkaConfig, progress: OnProgress) -> tuple[Outcomes, Bounds]:
    """Read the raw, classified and dead-letter topics.

    The raw topic's end is fixed first: what is produced while the audit runs is not part of it.

    Raises:
        ConnectorError: Kafka did not answer, or a topic is missing.
    """
    outcomes = Outcomes()
    raw = TopicScan(kafka, settings.topic_raw)
    try:
        outcomes.produced = {partition: set() for partition in raw.bounds}
        for message in _counted(raw, progress):
            outcomes.produced[partition_of(message)].add(offset_of(message))
    finally:
        raw.close()
    for topic, into in ((settings.topic_classified, outcomes.classified), (settings.topic_dead, outcomes.dead)):
        scan = TopicScan(kafka, topic)
        try:
            if topic == settings.topic_classified:
                outcomes.complete = all(low == 0 for low, _ in scan.bounds.values())
            for message in _counted(scan, progress):
                try:
                    origin = OriginOnly.from_json(message.value()).origin
                except RecordError:
                    continue  # not ours; the aggregate stage dead-letters it
                high = raw.bounds.get(origin.partition, (0, 0))[1]
                if origin.topic != settings.topic_raw or origin.offset >= high:
                    continue
                into.setdefault(origin.partition, set()).add(origin.offset)
        finally:
            scan.close()
    return outcomes, raw.bounds


def _counted(scan: TopicScan, progress: OnProgress) -> Iterator[Message]:
    total = scan.total()
    for done, message in enumerate(scan.messages(), start=1):
        if done % 1_000 == 0 or done == total:
            progress(scan.topic, done, total)
        yield message


async def audit_until_balanced(
    settings: Settings, store: WindowStore, progress: OnProgress, *, patience_s: float
) -> list[Check]:
    """The audit, repeated until it balances or `patience_s` is over: posts may still be on their way.

    Raises:
        ConnectorError: a system did not answer.
    """
    deadline = time.monotonic() + patience_s
    while True:
        checks = await audit(settings, store, progress)
        if all(check.ok for check in checks) or time.monotonic() >= deadline:
            return checks
        await asyncio.sleep(RETRY_S)


async def audit(settings: Settings, store: WindowStore, progress: OnProgress) -> list[Check]:
    """Run the whole audit.

    Raises:
        ConnectorError: a system did not answer.
    """
    kafka = kafka_config(settings)
    check_topics(settings, KafkaAdmin(kafka).partition_counts())
    outcomes, raw = read_outcomes(settings, kafka, progress)
    checks = check_delivery(outcomes, raw)
    classified = _size(outcomes.classified)
    await store.refresh()
    too_late, expired, unbuilt, duplicates = await store.counters()
    sent_twice = f"{duplicates} sent twice" if duplicates else ""
    sizes = [size.seconds for size in settings.window_sizes]
    for size in sizes:
        windows = await store.read(keyword=ALL_KEYWORDS, size=size)
        counted = sum(window.count for window in windows) + duplicates
        counted += sum(posts.get(size, 0) for posts in (too_late, expired, unbuilt))
        parts = [sent_twice, f"{too_late[size]} too late" if too_late.get(size) else ""]
        parts.append(f"{expired[size]} in expired windows" if expired.get(size) else "")
        parts.append(f"{unbuilt[size]} in windows that Kafka cannot fill" if unbuilt.get(size) else "")
        name = f"{format_duration(size)} windows in Redis = classified"
        note = ", ".join(filter(None, parts))
        checks.append(check_count(name, classified, counted, complete=outcomes.complete, note=note))
    rows, in_windows = _postgres_counts(settings)
    checks.append(check_count("rows in Postgres = classified", classified, rows, complete=outcomes.complete))
    for size in sizes:
        late = too_late.get(size, 0)
        name = f"{format_duration(size)} windows in Postgres = classified"
        note = ", ".join(filter(None, [sent_twice, f"{late} too late" if late else ""]))
        counted = in_windows.get(size, 0) + late + duplicates
        checks.append(check_count(name, classified, counted, complete=outcomes.complete, note=note))
    return checks


def _postgres_counts(settings: Settings) -> tuple[int, dict[int, int]]:
    """Rows in `posts`, and by window size the posts in the windows of all keywords."""
    dsn = settings.postgres_dsn.get_secret_value()
    with connect(dsn, application_name="emostream-audit") as connection, postgres_errors("counting rows"):
        rows = connection.execute("SELECT count(*) FROM posts WHERE origin_topic = %s", (settings.topic_raw,))
        count = rows.fetchone()
        sums = connection.execute(
            "SELECT size_s, sum(posts)::bigint FROM emotion_windows WHERE keyword = %s GROUP BY size_s",
            (ALL_KEYWORDS,),
        ).fetchall()
    return int(str(count[0])) if count else 0, {int(str(size)): int(str(total)) for size, total in sums}
