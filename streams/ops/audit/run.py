"""Runs the audit.

1. Read the raw, dead-letter and classified topics. Count the classified posts into fingerprints of ranges of windows.
2. Check that each raw post has one result, and that none was deleted without a result.
3. Read the fingerprints of the windows in Redis and in Postgres, and compare them with the counted ones.
4. If a range differs, read its windows by name, in all three places, and say which of them are missing, extra or
   changed.

The memory that this takes depends on the settings and on the number of raw posts (one bit for each), and not on the
number of windows. A repeated audit reads only what was appended to the topics since.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.offsets import OffsetReader
from streams.connections import kafka_config
from streams.ops.audit.checks import Check, check_count
from streams.ops.audit.counted import CountedWindows
from streams.ops.audit.delivery import check_delivery, count_classified
from streams.ops.audit.differences import (
    Differences,
    Store,
    Windows,
    name_differences,
    ranges_to_name,
    without_late,
)
from streams.ops.audit.fingerprints import Layout
from streams.ops.audit.postgres_windows import read_postgres
from streams.ops.audit.reading import OnProgress, TopicReader
from streams.ops.audit.redis_windows import StoredWindows, read_redis
from streams.ops.audit.waiting import OnWait, Progress, pause_s, wait_for_progress, why_sink_waits
from streams.records import from_ms
from streams.settings import Settings
from streams.sink.history import History
from streams.sink.sql import fetch_all
from streams.topology import check_topics
from streams.window_sizes import format_duration
from streams.windows.completeness import topic_complete_from
from streams.windows.reader import ShardCounters
from streams.windows.recent import Horizons
from streams.windows.scan import TableBounds, WindowScan
from streams.windows.store import WindowStore


@dataclass
class _Round:
    """What one round has read.

    Attributes:
        delivery: the checks of the results of the raw posts.
        windows: the windows as they were counted and as each store has them.
        redis_posts: posts in the windows of all posts in Redis, by size in seconds.
        postgres_posts: the same in Postgres.
        counters: the shards' counters.
        rows: number of rows of posts in Postgres.
        unwritten: offsets that left the classified topic before the sink wrote them.
        differences: the windows that differ, by store and size.
        named: whether `differences` has their names.
    """

    delivery: list[Check]
    windows: Windows
    redis_posts: Mapping[int, int]
    postgres_posts: Mapping[int, int]
    counters: ShardCounters
    rows: int
    unwritten: int
    differences: dict[tuple[Store, int], Differences] = field(default_factory=dict)
    named: bool = False


class Auditor:
    """Audits, and remembers between two rounds what was read of the topics."""

    def __init__(self, settings: Settings, store: WindowStore, progress: OnProgress) -> None:
        """Connect to Kafka.

        Raises:
            TopologyError: A topic is missing, or its partitions differ from the settings.
            ConnectorError: Kafka does not answer, or rejects the call.
        """
        self._settings = settings
        self._store = store
        kafka = kafka_config(settings)
        check_topics(settings, KafkaAdmin(kafka).partition_counts())
        self._closing = ExitStack()
        # Its committed offsets tell how far the classify stage is.
        self._offsets = OffsetReader(kafka, group=f"{settings.group_prefix}-classify")
        self._closing.callback(self._offsets.close)
        self._history = History(settings.postgres_dsn.get_secret_value(), application_name="emostream-audit")
        self._closing.callback(self._history.close)
        self._topics = TopicReader(settings, kafka, self._offsets, progress)
        self._counted: CountedWindows | None = None
        self._counted_from = 0
        self._layout = Layout({}, {})
        self._last: _Round | None = None
        self.progress = Progress(settings, store, self._offsets, self._history)

    def close(self) -> None:
        """Close the connections."""
        self._closing.close()

    async def round(self) -> list[Check]:
        """Run the audit once, without naming the windows that differ.

        Raises:
            ConnectorError: A server does not answer, or rejects the call.
        """
        await self._store.refresh()
        if self._counted is None:
            bounds = await WindowScan.of(self._store).bounds()
            self._layout = Layout.of(tuple(self._settings.window_sizes), bounds.expired_to)
            self._counted_from = self._complete_from()
            self._counted = CountedWindows(self._settings, self._layout, self._counted_from)
        # Step 1: read the topics.
        self._topics.read(self._counted)
        # Step 2: check the results of the raw posts.
        delivery = check_delivery(self._topics.outcomes, self._topics.raw)
        # Step 3: read the windows, and compare their fingerprints.
        # Postgres adds up its windows while those of Redis are read.
        reading = asyncio.create_task(asyncio.to_thread(read_postgres, self._history, self._layout))
        try:
            redis, bounds = await read_redis(self._store, self._layout)
        finally:
            await asyncio.wait([reading])  # the connection must not be closed meanwhile
        postgres = await reading
        windows = self._windows(bounds, self._counted, redis, postgres)
        rows, unwritten = self._read_rows()
        self._last = _Round(
            delivery, windows, redis.posts, postgres.posts, await self._store.counters(), rows, unwritten
        )
        for store in Store:
            for key in windows.differing(store):
                self._last.differences.setdefault((store, key.size), Differences(complete=False))
        # Only the names tell whether Postgres lacks nothing but posts that came after their window was removed.
        if any(self._late(size) > 0 for _, size in self._last.differences):
            return await self.name()
        return self._checks(self._last, self._counted)

    async def name(self) -> list[Check]:
        """Returns the checks of the last round, with the names of the windows that differ (step 4).

        Raises:
            ConnectorError: A server does not answer, or rejects the call.
        """
        assert self._last is not None  # noqa: S101 - a round comes first
        assert self._counted is not None  # noqa: S101
        if self._last.differences and not self._last.named:
            ranges, complete = ranges_to_name(self._last.windows)
            wanted = frozenset(ranges)

            # Step 4: name the windows that differ.
            counted = CountedWindows(self._settings, self._layout, self._counted_from, wanted)
            self._topics.read_again(counted)
            redis, bounds = await read_redis(self._store, self._layout, wanted)
            windows = self._windows(bounds, counted, redis, read_postgres(self._history, self._layout, ranges))
            named = {store: name_differences(windows, store) for store in Store}
            for store, size in self._last.differences:
                found = named[store].get(size, [])
                if store is Store.POSTGRES:
                    found = without_late(found, windows, self._late(size))
                self._last.differences[store, size] = Differences(found, complete)
            self._last.named = True
        return self._checks(self._last, self._counted)

    def _windows(
        self, bounds: TableBounds, counted: CountedWindows, redis: StoredWindows, postgres: StoredWindows
    ) -> Windows:
        return Windows(
            self._layout,
            self._counted_from,
            bounds.complete_from,
            bounds.expired_to,
            counted.groups,
            redis.groups,
            postgres.groups,
        )

    def _late(self, size: int) -> int:
        """Returns how many posts came after their window of this size had left Redis, at most."""
        if self._last is None or self._counted is None:
            return 0
        return self._last.counters.too_late.get(size, 0) - self._counted.too_late[size]

    def _complete_from(self) -> int:
        """Returns the event time, in ms since 1970, from which Kafka holds every post and every duplicate's first."""
        settings = self._settings
        max_future_ms = int(settings.max_future_s * 1_000)
        found = topic_complete_from(self._offsets, settings.topic_classified, settings.partitions, max_future_ms)
        return found + Horizons.of(settings).sources if found else 0

    def _read_rows(self) -> tuple[int, int]:
        """Returns the rows of `posts`, and the offsets that left the classified topic before the sink wrote them.

        Gaps that an operator has marked as known are left out.
        """
        with self._history.transaction("counting rows") as connection:
            [[rows]] = fetch_all(
                connection, "SELECT count(*) FROM posts WHERE origin_topic = %s", self._settings.topic_raw
            )
            [[unwritten]] = fetch_all(
                connection,
                "SELECT coalesce(sum(next_offset - first_offset), 0)::bigint FROM sink_gaps "
                "WHERE topic = %s AND reason = 'expired' AND known_at IS NULL",
                self._settings.topic_classified,
            )
        return rows, unwritten

    def _checks(self, last: _Round, counted: CountedWindows) -> list[Check]:
        complete = self._topics.complete
        classified = count_classified(self._topics.outcomes, self._topics.raw)
        too_late, expired, unbuilt, duplicates = last.counters
        sent_twice = f"{duplicates} sent twice" if duplicates else ""
        checks = list(last.delivery)
        for size in counted.sizes:
            in_no_window = sum(posts.get(size, 0) for posts in (too_late, expired, unbuilt)) + duplicates
            notes = [sent_twice, f"{too_late[size]} too late" if too_late.get(size) else ""]
            notes.append(f"{expired[size]} in expired windows" if expired.get(size) else "")
            notes.append(f"{unbuilt[size]} in windows that Kafka no longer holds in full" if unbuilt.get(size) else "")
            found = last.redis_posts.get(size, 0) + in_no_window
            checks.append(self._window_check(last, Store.REDIS, size, (classified, found), notes))
        checks.append(check_count("rows in Postgres = classified", classified, last.rows, complete=complete))
        gap = "deleted before the sink wrote them"
        checks.append(Check(gap, 0, last.unwritten, last.unwritten == 0, "see sink_gaps" if last.unwritten else ""))
        for size in counted.sizes:
            late = too_late.get(size, 0)
            found = last.postgres_posts.get(size, 0) + late + duplicates
            notes = [sent_twice, f"{late} too late" if late else ""]
            checks.append(self._window_check(last, Store.POSTGRES, size, (classified, found), notes))
        return checks

    def _window_check(self, last: _Round, store: Store, size: int, posts: tuple[int, int], notes: list[str]) -> Check:
        """Returns the check of the windows of a size in a store; `posts` are those of all windows."""
        if not self._topics.complete:
            posts = last.windows.posts_of_all(store, size)
            notes = []
            if self._counted_from:
                since = from_ms(self._counted_from).rfc3339()
                notes.append(f"only windows from {since} on, as Kafka no longer holds earlier posts in full")
        expected, found = posts
        differences = last.differences.get((store, size))
        wrong = differences is not None and not differences.none
        if differences is not None:
            notes.append(str(differences))
        name = f"{format_duration(size)} windows in {store} = classified"
        return Check(name, expected, found, expected == found and not wrong, ", ".join(filter(None, notes)))


def with_sink(settings: Settings, checks: list[Check]) -> list[Check]:
    """Returns the checks, with a note on the failed ones of Postgres that says why the sink does not write."""
    failed = [check for check in checks if not check.ok and "Postgres" in check.name]
    if not failed or not (why := why_sink_waits(settings)):
        return checks
    return [
        replace(check, note="; ".join(filter(None, [check.note, why]))) if check in failed else check
        for check in checks
    ]


async def audit_until_balanced(
    settings: Settings,
    store: WindowStore,
    progress: OnProgress,
    *,
    timeout_s: float,
    on_wait: OnWait = lambda text: None,
) -> list[Check]:
    """Run the audit, and repeat it until every check succeeds or `timeout_s` seconds are over.

    The topics are read once; a repetition reads only what was appended since. Between two rounds the audit waits, so
    that a sink on the same machine can write (`waiting`).

    Args:
        settings: where the servers are.
        store: the windows in Redis.
        progress: called while topics are read.
        timeout_s: seconds.
        on_wait: called between two rounds with what is on its way.

    Raises:
        TopologyError: A topic is missing, or its partitions differ from the settings.
        ConnectorError: A server does not answer, or rejects the call.
    """
    deadline = time.monotonic() + timeout_s
    auditor = Auditor(settings, store, progress)
    try:
        while True:
            started = time.monotonic()
            checks = await auditor.round()
            if all(check.ok for check in checks):
                return checks
            ended = time.monotonic()
            if ended >= deadline:
                checks = await auditor.name()
                return with_sink(settings, checks)
            pause = pause_s(ended - started, settings.sink_calm_s)
            await wait_for_progress(auditor.progress, pause=pause, deadline=deadline, on_wait=on_wait)
    finally:
        auditor.close()


async def audit(settings: Settings, store: WindowStore, progress: OnProgress) -> list[Check]:
    """Run the audit once.

    Raises:
        TopologyError: A topic is missing, or its partitions differ from the settings.
        ConnectorError: A server does not answer, or rejects the call.
    """
    return await audit_until_balanced(settings, store, progress, timeout_s=0.0)
