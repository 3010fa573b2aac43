"""The audit: checks that each produced post is either classified or dead-lettered, and is counted exactly once.

It reads the topics from beginning to end. The delivery checks compare sets of offsets only. The window checks also add
the shards' counters of posts that are in no window.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.scan import Bounds, TopicScan
from connectors.postgres import connect, postgres_errors
from streams.connections import kafka_config, scan_group
from streams.errors import AuditError
from streams.records import ALL_KEYWORDS, OriginOnly, RecordError
from streams.settings import Settings
from streams.topology import check_topics
from streams.window_sizes import format_duration
from streams.windows.store import WindowStore

RETRY_S = 0.5
"""Seconds between two audits while posts are on their way."""

OnProgress = Callable[[str, int, int], None]
"""Called with the topic, the records read so far, and the total."""


@dataclass(frozen=True)
class Check:
    """A check of the audit. `note` explains the numbers or the failure.

    A check that could not be made has `ok` True, and its note says why.
    """

    name: str
    expected: int
    found: int
    ok: bool
    note: str = ""


@dataclass
class Outcomes:
    """Offsets of raw posts, by partition of the raw topic.

    Attributes:
        produced: the offsets in the raw topic.
        classified: the offsets of the posts in the classified topic.
        dead: the offsets of the posts in the dead-letter topic.
        complete: whether Kafka still holds the classified topic from its beginning.
    """

    produced: dict[int, set[int]] = field(default_factory=dict)
    classified: dict[int, set[int]] = field(default_factory=dict)
    dead: dict[int, set[int]] = field(default_factory=dict)
    complete: bool = True


def _size(offsets: Mapping[int, set[int]]) -> int:
    return sum(len(found) for found in offsets.values())


def check_delivery(outcomes: Outcomes, raw: Bounds) -> list[Check]:
    """Check that each produced post is either classified or dead-lettered. Pure.

    Posts before the first offset of the raw topic are left out, because Kafka has deleted them there.

    Args:
        outcomes: the offsets of the posts.
        raw: the first and the end offset of each partition of the raw topic.
    """
    examples: list[str] = []
    lost = twice = found = 0
    for partition, produced in outcomes.produced.items():
        low = raw[partition][0]
        classified = {offset for offset in outcomes.classified.get(partition, set()) if offset >= low}
        dead = {offset for offset in outcomes.dead.get(partition, set()) if offset >= low}
        found += len(classified) + len(dead)
        twice += len(classified & dead)
        missing = produced - classified - dead
        lost += len(missing)
        examples += [f"{partition}@{offset}" for offset in sorted(missing)[: 5 - len(examples)]]
    note = f"{lost} without a result, such as {', '.join(examples)}" if lost else ""
    delivered = Check("produced = classified + dead-lettered", _size(outcomes.produced), found, not lost, note)
    if not lost and found - twice != delivered.expected:
        note = "some results are of posts that were never produced"
        delivered = Check(delivered.name, delivered.expected, found, ok=False, note=note)
    return [delivered, Check("both classified and dead-lettered", 0, twice, twice == 0)]


def check_count(name: str, classified: int, found: int, *, complete: bool, note: str = "") -> Check:
    """Check that a store has as many posts as were classified. Pure.

    The check succeeds if `complete` is false, because the classified posts that Kafka has deleted cannot be counted.
    """
    if not complete:
        reason = "not comparable: Kafka no longer holds the classified topic from its beginning"
        return Check(name, classified, found, ok=True, note=reason)
    return Check(name, classified, found, classified == found, note)


def read_outcomes(settings: Settings, kafka: KafkaConfig, progress: OnProgress) -> tuple[Outcomes, Bounds]:
    """Read the raw, classified and dead-letter topics.

    The end of the raw topic is read first. Posts that are produced while the audit runs are left out.

    Returns:
        The offsets of the posts, and the bounds of the raw topic.

    Raises:
        ConnectorError: Kafka does not answer, or a topic is missing.
    """
    outcomes = Outcomes()
    raw = TopicScan(kafka, settings.topic_raw, group=scan_group(settings))
    try:
        outcomes.produced = {partition: set() for partition in raw.bounds}
        for message in _counted(raw, progress):
            outcomes.produced[partition_of(message)].add(offset_of(message))
    finally:
        raw.close()
    for topic, into in ((settings.topic_classified, outcomes.classified), (settings.topic_dead, outcomes.dead)):
        scan = TopicScan(kafka, topic, group=scan_group(settings))
        try:
            if topic == settings.topic_classified:
                outcomes.complete = all(low == 0 for low, _ in scan.bounds.values())
            for message in _counted(scan, progress):
                try:
                    origin = OriginOnly.from_json(message.value()).origin
                except RecordError:
                    continue  # not a record of the application; the worker dead-letters it
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
    settings: Settings, store: WindowStore, progress: OnProgress, *, timeout_s: float
) -> list[Check]:
    """Run the audit, and repeat it until every check succeeds or `timeout_s` seconds are over.

    Raises:
        ConnectorError: A server does not answer, or rejects the call.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        checks = await audit(settings, store, progress)
        if all(check.ok for check in checks) or time.monotonic() >= deadline:
            return checks
        await asyncio.sleep(RETRY_S)


async def audit(settings: Settings, store: WindowStore, progress: OnProgress) -> list[Check]:
    """Run the audit once.

    Raises:
        TopologyError: A topic is missing, or its partitions differ from the settings.
        ConnectorError: A server does not answer, or rejects the call.
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
        parts.append(f"{unbuilt[size]} in windows that Kafka no longer holds in full" if unbuilt.get(size) else "")
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


def require_balance(checks: Sequence[Check]) -> None:
    """Raise an error if a check failed.

    Raises:
        AuditError: At least one check failed; the message names each of them.
    """
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise AuditError(f"the audit failed: {'; '.join(failed)}")


def _postgres_counts(settings: Settings) -> tuple[int, dict[int, int]]:
    """Returns the rows of `posts`, and for each window size the posts in the windows of the keyword `*`."""
    dsn = settings.postgres_dsn.get_secret_value()
    with connect(dsn, application_name="emostream-audit") as connection, postgres_errors("counting rows"):
        rows = connection.execute("SELECT count(*) FROM posts WHERE origin_topic = %s", (settings.topic_raw,))
        count = rows.fetchone()
        sums = connection.execute(
            "SELECT size_s, sum(posts)::bigint FROM emotion_windows WHERE keyword = %s GROUP BY size_s",
            (ALL_KEYWORDS,),
        ).fetchall()
    return int(str(count[0])) if count else 0, {int(str(size)): int(str(total)) for size, total in sums}
