"""Copies one topic to Postgres: a consumer-group member that resumes from Postgres."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from confluent_kafka import Message

from connectors.errors import InvalidDataError, UnavailableError
from connectors.kafka.batch import Batch, offset_of, partition_of
from connectors.kafka.consumer import PositionedConsumer
from connectors.kafka.offsets import OffsetReader, start_offset
from connectors.kafka.producer import ConfirmedProducer
from streams.connections import kafka_config
from streams.dead_letters import bury, dead_letter
from streams.process.background import in_background
from streams.records import DeadReason
from streams.settings import Settings
from streams.sink.backlog import BacklogReader, PartitionBacklog, is_near
from streams.sink.gate.cpu_aware import CLOSED_POLL_S, Gate
from streams.sink.history import History
from streams.sink.intake import DeadRecord, read_all, store_all
from streams.sink.ledger import OffsetMoved, Span, spans_of
from streams.sink.metrics import SinkMetrics
from streams.sink.slices import SliceSize
from streams.sink.targets import Target

logger = logging.getLogger(__name__)

POLL_S = 0.25
"""How long a slice waits to fill. The sink is not in a hurry; fewer, larger transactions cost Postgres less."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits while Postgres is away; the last one repeats."""

LOOK_S = 5.0
"""Pace of the looks at the backlog, and at where Postgres stands."""

REPORT_S = 30.0
"""Pace of the lines in the log that say how much was written, or that the backlog is in danger."""

R = TypeVar("R")


@dataclass(frozen=True)
class Slice(Generic[R]):
    """A batch and what its messages were decoded to, None for those without a row; written as one."""

    batch: Batch
    entries: Sequence[tuple[Message, R | None]]


class TopicSink(Generic[R]):
    """Copies one topic to Postgres.

    For each slice, while the gate is open: 1. decode, dead-lettering what cannot be read; 2. in one transaction compare
    the offsets, write the rows, set the offsets; 3. commit to Kafka for lag monitoring. Step 2 has a thread of its own,
    so that the next slice is read meanwhile. Postgres being away, or standing elsewhere, ends in a rewind to what it
    says. A row that Postgres does not take is dead-lettered, and the rest of its slice goes in.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        target: Target[R],
        history: History,
        looks: History,
        *,
        producer: ConfirmedProducer,
        gate: Gate,
        metrics: SinkMetrics,
        retention_s: float | None = None,
    ) -> None:
        """Prepare the sink.

        Args:
            settings: all settings.
            topic: the topic.
            target: what its records become.
            history: the connection to write with.
            looks: another one, for looking where Postgres stands while something is written.
            producer: for dead letters.
            gate: asked before each slice.
            metrics: where it counts.
            retention_s: how long Kafka keeps a record of the topic; None for ever.
        """
        self._settings = settings
        self._topic = topic
        self._target = target
        self._history = history
        self._looks = looks
        self._producer = producer
        self._gate = gate
        self._metrics = metrics
        self.retention_s = retention_s
        # One slice is written while the next is read.
        self._size = SliceSize(settings.sink_slice_ms / 1_000, max(1, settings.sink_batch // 2))
        self._writing: tuple[Slice[R], Future[int]] | None = None
        self._next: Slice[R] | None = None
        self._failures = 0
        self._written = 0
        self._look_due = 0.0
        self._report_due = time.monotonic() + REPORT_S
        self.backlog: list[PartitionBacklog] = []
        self.trouble: str | None = None
        """Why the last write, or the last look at the servers, failed; None if it did not."""

    @property
    def name(self) -> str:
        """The topic."""
        return self._topic

    @property
    def oldest_s(self) -> float | None:
        """Age of the oldest record that waits, in seconds; None where none does. Of any thread."""
        ages = [one.age_s() for one in self.backlog if one.oldest_ms is not None]
        return max(ages, default=None)

    @property
    def in_danger(self) -> bool:
        """Whether the backlog comes near the topic's retention. Of any thread."""
        return is_near(self.oldest_s, self.retention_s)

    def run(self, stop: threading.Event, *, alone: bool = False) -> None:
        """Run until `stop` is set.

        Args:
            stop: ends the run.
            alone: take every partition, also those of a sink that runs; Postgres decides which of the two writes.

        Raises:
            EmostreamError, ConnectorError: Kafka or Postgres refused for good, or the gate cannot tell.
        """
        kafka = kafka_config(self._settings)
        group = f"{self._settings.group_prefix}-sink"
        reader = OffsetReader(kafka, group=group)
        consumer = PositionedConsumer(
            kafka,
            group=f"{group}-once-{self._topic}" if alone else f"{group}-{self._topic}",
            topic=self._topic,
            positions=lambda p: self._positions(reader, p),
        )
        backlog = BacklogReader(reader, self._topic)
        try:
            while not stop.is_set():
                if self._gate.is_open():
                    self._copy(consumer, stop)
                else:
                    self._finish(consumer, stop)
                    self._wait_closed(consumer, stop)
                if time.monotonic() >= self._look_due:
                    self._look_due = time.monotonic() + LOOK_S
                    self._look(consumer, backlog, idle=self._next is None and self._writing is None)
            self._finish(consumer, stop)
        finally:
            if self._writing is not None:
                wait_for_futures([self._writing[1]])
            consumer.close()
            reader.close()
            self._history.close()
            self._looks.close()

    def _copy(self, consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Read a slice while the one before it is written; then have it written."""
        if consumer.paused:
            consumer.resume()
        if self._next is None and (batch := consumer.poll(self._size.records, POLL_S)) is not None:
            with self._rewinding(consumer, stop):
                self._next = self._read(batch)
        self._finish(consumer, stop)
        if self._next is not None and not consumer.is_current(self._next.batch):
            self._next = None
        if self._next is not None and self._gate.is_open():
            self._begin(self._next)
            self._next = None

    def _wait_closed(self, consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Stay in the group and fetch nothing; the backlog waits in Kafka."""
        # Positions that were looked up again, after a rebalance or a rewind, have ended the pause before.
        if not consumer.paused:
            consumer.pause()
        stop.wait(CLOSED_POLL_S)
        if consumer.poll(1, 0) is not None:
            consumer.rewind("a rebalance fetched while the gate was closed")

    def _positions(self, reader: OffsetReader, partitions: Sequence[int]) -> Mapping[int, int]:
        bounds = {partition: reader.bounds(self._topic, partition) for partition in partitions}
        stored, gaps = self._looks.stand(self._topic, bounds)
        for gap in gaps:
            self._metrics.gap_offsets.labels(self._topic).inc(gap.end - gap.start)
            logger.error(
                "%s[%d]: offsets %d to %d left Kafka's retention before they were written; noted in sink_gaps",
                self._topic,
                gap.partition,
                gap.start,
                gap.end - 1,
            )
        return {
            partition: start_offset(self._topic, partition, stored[partition], bounds[partition], None)
            for partition in partitions
        }

    def _read(self, batch: Batch) -> Slice[R]:
        entries, dead = read_all(batch.messages, self._target.read)
        if dead:
            self._bury(dead)
        return Slice(batch, entries)

    def _begin(self, part: Slice[R]) -> None:
        self._writing = part, in_background(lambda: self._store(part), name=f"sink-write-{self._topic}")

    def _finish(self, consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Wait for the write in hand, if there is one."""
        if self._writing is None:
            return
        (part, outcome), self._writing = self._writing, None
        with self._rewinding(consumer, stop):
            self._written += outcome.result()
            self._failures = 0
            self.trouble = None
            consumer.done(part.batch)

    @contextmanager
    def _rewinding(self, consumer: PositionedConsumer, stop: threading.Event) -> Iterator[None]:
        """Go back to what Postgres says, after a wait where a server is away."""
        try:
            yield
        except OffsetMoved as exc:
            self._rewind(consumer, "position", exc)
        except UnavailableError as exc:
            wait = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
            self.trouble = str(exc)
            logger.warning("%s; trying again in %.1f s", exc, wait)
            self._rewind(consumer, "unavailable", exc)
            stop.wait(wait)

    def _rewind(self, consumer: PositionedConsumer, cause: str, why: Exception) -> None:
        self._metrics.rewinds.labels("sink", cause).inc()
        consumer.rewind(str(why))

    def _store(self, part: Slice[R]) -> int:
        """Write a slice; what Postgres does not take becomes a dead letter. Returns how many rows were written."""
        stands = dict(part.batch.starts)
        written = 0

        def store(entries: Sequence[tuple[Message, R | None]]) -> None:
            nonlocal written
            spans = spans_of(((partition_of(message), offset_of(message)) for message, _ in entries), stands)
            rows = [row for _, row in entries if row is not None]
            self._write(rows, spans, records=len(entries))
            stands.update({span.partition: span.end for span in spans})
            written += len(rows)

        def refuse(entry: tuple[Message, R | None], why: InvalidDataError) -> None:
            message, row = entry
            if row is None:
                raise why  # nothing but offsets: no record is at fault
            self._bury([(message, DeadReason.NOT_STORABLE, str(why))])
            store([(message, None)])

        store_all(part.entries, store, refuse)
        return written

    def _write(self, rows: Sequence[R], spans: Sequence[Span], *, records: int) -> None:
        begin = time.monotonic()
        self._history.write(self._topic, self._target, rows, spans)
        seconds = time.monotonic() - begin
        self._size.took(records, seconds)
        self._metrics.write_seconds.labels(self._topic).observe(seconds)
        self._metrics.written.labels(self._topic).inc(len(rows))
        self._metrics.last_write.labels(self._topic).set_to_current_time()

    def _bury(self, dead: Sequence[DeadRecord]) -> None:
        letters = [dead_letter(*one) for one in dead]
        for letter in letters:
            logger.warning("%s[%d]@%d is a dead letter: %s", *letter.origin.model_dump().values(), letter.error)
        bury(self._producer, letters, self._settings.topic_dead)
        for letter in letters:
            self._metrics.dead.labels(letter.reason).inc()

    def _look(self, consumer: PositionedConsumer, backlog: BacklogReader, *, idle: bool) -> None:
        """Look at the backlog, and whether Postgres still stands where we think."""
        stands = consumer.next_offsets
        before = self.backlog
        try:
            self.backlog = backlog.look(stands)
            stored = self._looks.offsets(self._topic, stands)
        except UnavailableError as exc:
            self.trouble = str(exc)
            self._metrics.backlog_failures.inc()
            logger.info("no look at the backlog this time: %s", exc)
        else:
            self.trouble = None
            if idle and any(stored.get(partition) != offset for partition, offset in stands.items()):
                # A database that was restored would else be noticed with the next record only.
                self._rewind(consumer, "position", OffsetMoved(f"{self._topic} stands elsewhere in PostgreSQL"))
        # Another sink tells of those that it has taken.
        for gone in {one.partition for one in before} - {one.partition for one in self.backlog}:
            self._metrics.backlog_records.remove(self._topic, gone)
        self._tell()

    def _tell(self) -> None:
        for one in self.backlog:
            self._metrics.backlog_records.labels(self._topic, one.partition).set(one.records)
        oldest_s = self.oldest_s or 0.0
        self._metrics.backlog_seconds.labels(self._topic).set(oldest_s)
        if self.retention_s is not None:
            self._metrics.retention_share.labels(self._topic).set(oldest_s / self.retention_s)
        if time.monotonic() >= self._report_due:
            self._report_due = time.monotonic() + REPORT_S
            if self._written:
                logger.info("%s: %d records written", self._topic, self._written)
                self._written = 0
            if self.in_danger:
                logger.warning(
                    "%s: the oldest record that is not written has waited %.0f s, and Kafka keeps it %.0f s; the "
                    "machine is too busy: set EMOSTREAM_SINK_MAX_DELAY_S, or give the sink a quieter machine",
                    self._topic,
                    oldest_s,
                    self.retention_s,
                )
