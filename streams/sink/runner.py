"""Runs the sink: the gate, the web server, a thread for each topic, and a thread for the backfills."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer
from streams import __version__
from streams.connections import kafka_config
from streams.errors import BackfillBusyError, BackfillStoppedError
from streams.gate.cpu_aware import Gate, sink_gate
from streams.process.background import in_background
from streams.process.topic_watch import TopicWatch
from streams.settings import Settings
from streams.sink.backfill.holes import Findings
from streams.sink.backfill.run import Backfill
from streams.sink.backfill.wait import gate_waiter
from streams.sink.backlog import BacklogReader, retention_s
from streams.sink.history import History
from streams.sink.metrics import SinkMetrics, values_by_topic
from streams.sink.report import (
    BackfillReport,
    PartitionReport,
    SinkReport,
    TopicReport,
    assess_health,
    gate_report,
)
from streams.sink.same_topics import require_same_topics
from streams.sink.targets import DELETIONS, WINDOWS, Target, posts_of
from streams.sink.topic_sink import ONCE_POLL_S, POLL_S, TopicSink
from streams.sink.web import SinkWeb
from streams.topology import check_topics, sink_topics

logger = logging.getLogger(__name__)

GC_THRESHOLDS = (100_000, 50, 1_000)
"""Thresholds of the garbage collector in a process that runs the sink.

A slice has tens of thousands of objects. With Python's defaults the collector costs a tenth of the rate."""

R = TypeVar("R")

STOP_S = 10.0
"""Seconds to wait at the end for the transactions that are running, and for the consumers to leave their groups."""

DELETIONS_POLL_S = 1.0
"""Seconds that a slice of deletions waits to fill. It is searched for in each partition of `posts`, whether it has one
deletion or twenty."""

FIRST_BACKFILL_S = 60.0
"""Seconds from the start to the first backfill, unless the interval is shorter: a sink that is often restarted needs
backfills too."""


@contextmanager
def open_sink(settings: Settings, *, gate: Gate | None = None) -> Iterator[Sink]:
    """Check Kafka and Postgres, and yield a sink. `gate` replaces the gate that the settings describe.

    At the end the dead letters that are on their way have some seconds to arrive.

    Raises:
        TopologyError: The topics do not fit the settings.
        ConnectorError: Kafka or Postgres does not answer or rejects the call, or the load cannot be measured.
    """
    kafka = kafka_config(settings)
    admin = KafkaAdmin(kafka)
    partitions = admin.partition_counts()
    check_topics(settings, partitions)
    # A wrong address is an error at the start; the threads would only retry.
    with closing(History(settings.postgres_dsn.get_secret_value(), application_name="emostream-sink")) as history:
        history.check()
        ids = require_same_topics(settings, admin, history)
    watch = TopicWatch(admin, ids)
    retentions = {topic: retention_s(admin.topic_config(topic)) for topic in sink_topics(settings)}
    with closing(ConfirmedProducer(kafka, client_id=f"{settings.group_prefix}-sink")) as producer:
        yield Sink(settings, producer, watch, partitions=partitions, retentions=retentions, gate=gate)


class Sink:
    """A sink; `open_sink` makes it. Call `run` once.

    Attributes:
        metrics: its metrics.
        gate: its gate.
        topics: one part for each topic.
    """

    def __init__(
        self,
        settings: Settings,
        producer: ConfirmedProducer,
        watch: TopicWatch,
        *,
        partitions: Mapping[str, int],
        retentions: Mapping[str, float | None],
        gate: Gate | None = None,
    ) -> None:
        """Prepare the parts. Connections are made by `run`.

        Args:
            settings: The settings.
            producer: Writes dead letters. The caller closes it.
            watch: Stops the sink if its topics are deleted.
            partitions: The number of partitions of each topic.
            retentions: For each topic, the seconds that Kafka keeps a record; None if it never deletes records.
            gate: Replaces the gate that the settings describe.

        Raises:
            LoadError: The load of the machine cannot be measured.
        """
        self._settings = settings
        self._partitions = partitions
        self._watch = watch
        self._dsn = settings.postgres_dsn.get_secret_value()
        self._started_at = datetime.now(UTC)
        self._last_backfill: BackfillReport | None = None
        self.metrics = SinkMetrics()
        self.gate = sink_gate(settings, self.oldest_s) if gate is None else gate
        self.metrics.watch(self.gate)

        def topic_sink(topic: str, target: Target[R], poll_s: float = POLL_S) -> TopicSink[R]:
            return TopicSink(
                settings,
                topic,
                target,
                self._history(),
                self._history(),
                producer=producer,
                gate=self.gate,
                metrics=self.metrics,
                retention_s=retentions[topic],
                poll_s=poll_s,
            )

        self.topics: list[TopicSink[Any]] = [
            topic_sink(settings.topic_classified, posts_of(settings.topic_raw)),
            topic_sink(settings.topic_windows, WINDOWS),
            topic_sink(settings.topic_deletions, DELETIONS, DELETIONS_POLL_S),
        ]

    def _history(self) -> History:
        """Returns a new connection: each thread has its own."""
        return History(self._dsn, application_name="emostream-sink", on_connect=self.gate.add_backend)

    def _run_backfills(self, stop: threading.Event) -> None:
        """Run a backfill at each interval, until `stop` is set. A backfill waits while the gate is closed."""
        interval_s = self._settings.sink_backfill_interval_s
        if interval_s == 0:
            return
        wait_s = min(FIRST_BACKFILL_S, interval_s)
        while not stop.wait(wait_s):
            wait_s = interval_s
            # Each backfill has a connection of its own, because closing it releases the lock of the backfill.
            history = self._history()
            backfill = Backfill(self._settings, history, wait=gate_waiter(self.gate, stop))
            try:
                self._record_backfill(backfill.run(fill=True))
            except BackfillStoppedError:
                return
            except BackfillBusyError:
                logger.info("no backfill now: another process is running one")
            except UnavailableError as exc:
                self.metrics.backfill_failures.inc()
                logger.warning("the backfill ended early: %s; the next one starts in %.0f s", exc, interval_s)
            finally:
                self._count_findings(backfill.findings)
                history.close()

    def _count_findings(self, findings: Findings) -> None:
        """Count and log what a backfill found and did, also if it ended early."""
        metrics = self.metrics
        for hole in findings.holes:
            metrics.holes.labels(hole.topic, hole.kind).inc()
            logger.warning("found a hole: %s", hole)
        for reason in findings.dead:
            metrics.dead.labels(reason).inc()
        metrics.rows_filled.inc(findings.rows_filled)
        metrics.windows_filled.inc(findings.windows_filled)
        metrics.windows_rejected.inc(findings.windows_rejected)
        for topic, gap in findings.gaps:
            metrics.gap_offsets.labels(topic).inc(gap.end - gap.start)
            logger.error(
                "%s[%d]: offsets %d to %d cannot be read from Kafka, and so not be filled; recorded in sink_gaps",
                topic,
                gap.partition,
                gap.start,
                gap.end - 1,
            )

    def _record_backfill(self, findings: Findings) -> None:
        self.metrics.last_backfill.set_to_current_time()
        self._last_backfill = BackfillReport(
            ended_at=datetime.now(UTC),
            ranges=findings.ranges,
            rows=findings.rows,
            holes=len(findings.holes),
            windows_missing=findings.windows_missing,
            windows_outdated=findings.windows_outdated,
            rows_filled=findings.rows_filled,
            windows_filled=findings.windows_filled,
            gaps=len(findings.gaps),
        )
        logger.info(
            "backfill: ranges compared: %d (rows: %d), holes found: %d, rows filled: %d, windows filled: %d",
            findings.ranges,
            findings.rows,
            len(findings.holes),
            findings.rows_filled,
            findings.windows_filled,
        )

    def report(self) -> SinkReport:
        """Returns the current status. Any thread may call it."""
        gate = gate_report(self.gate.state, self._settings)
        written, last_writes = values_by_topic(self.metrics.written), values_by_topic(self.metrics.last_write)
        topics = tuple(
            TopicReport(
                topic=topic.name,
                retention_s=topic.retention_s,
                in_danger=topic.in_danger,
                written=int(written.get(topic.name, 0)),
                last_write=datetime.fromtimestamp(at, UTC) if (at := last_writes.get(topic.name)) else None,
                last_error=topic.last_error,
                partitions=tuple(
                    PartitionReport(
                        partition=one.partition,
                        records=one.records,
                        oldest_s=None if one.oldest_ms is None else one.age_s(),
                    )
                    for one in topic.backlog
                ),
            )
            for topic in self.topics
        )
        health, reasons = assess_health(gate, topics)
        return SinkReport(
            health=health,
            reasons=reasons,
            version=__version__,
            started_at=self._started_at,
            gate=gate,
            topics=topics,
            backfill=self._last_backfill,
        )

    def oldest_s(self) -> float | None:
        """Returns the seconds that the oldest record of any topic has waited; None if none waits."""
        ages = [age for topic in self.topics if (age := topic.oldest_s) is not None]
        return max(ages, default=None)

    def _stop_when_written(self, stop: threading.Event) -> None:
        """Set `stop` when all records that Kafka has now are in Postgres, whichever sink wrote them."""
        history = self._history()
        reader = OffsetReader(kafka_config(self._settings), group=f"{self._settings.group_prefix}-sink")
        topics = {topic.name: range(self._partitions[topic.name]) for topic in self.topics}
        try:
            bounds = {topic: reader.all_bounds(topic, partitions) for topic, partitions in topics.items()}
            ends = {(topic, p): end for topic, of_topic in bounds.items() for p, (_, end) in of_topic.items()}
            readers = {topic: BacklogReader(reader, topic) for topic in topics}
            while not stop.wait(ONCE_POLL_S):
                try:
                    written = {topic: history.offsets(topic, partitions) for topic, partitions in topics.items()}
                    if all(written[topic].get(p, 0) >= end for (topic, p), end in ends.items()):
                        break
                    # The remaining offsets may be those of transaction markers, which are never written.
                    backlogs = {topic: readers[topic].read(written[topic]) for topic in topics}
                except UnavailableError:
                    continue  # the threads of the topics log the error, and try again
                if all(len(backlogs[topic]) == len(topics[topic]) for topic in topics) and not any(
                    one.records for backlog in backlogs.values() for one in backlog
                ):
                    break
        finally:
            reader.close()
            history.close()
        stop.set()

    def run(self, stop: threading.Event, *, once: bool = False) -> None:
        """Run until `stop` is set; with `once` only until all records that Kafka has now are written.

        Raises:
            EmostreamError, ConnectorError: A thread failed with an error that a retry does not help against.
        """
        more = [self._stop_when_written] if once else [self._run_backfills]
        host, port = self._settings.web_bind, self._settings.sink_web_port
        with ExitStack() as stack:
            # With `once` there is no web server, because another sink may be using the port.
            if port and not once:
                stack.enter_context(SinkWeb(host, port, registry=self.metrics.registry, report=self.report))
            stack.enter_context(self.gate)
            topics = [partial(topic.run, all_partitions=once) for topic in self.topics]
            _run_threads([*topics, self._watch.run, *more], stop)


def _run_threads(targets: Sequence[Callable[[threading.Event], None]], stop: threading.Event) -> None:
    """Run each target in a thread until `stop` is set. The first error sets it, and is raised at the end."""
    failures: list[BaseException] = []

    def on_end(run: Future[None]) -> None:
        if (failure := run.exception()) is not None:
            failures.append(failure)
            stop.set()

    runs = {f"sink-{i}": in_background(partial(target, stop), name=f"sink-{i}") for i, target in enumerate(targets)}
    for run in runs.values():
        run.add_done_callback(on_end)
    stop.wait()
    _, late = wait_for_futures(runs.values(), STOP_S)
    for name, run in runs.items():
        if run in late:
            # The transaction that it was writing is rolled back.
            logger.warning("%s did not stop in %.0f s; does a server not answer?", name, STOP_S)
    if failures:
        raise failures[0]
