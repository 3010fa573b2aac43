"""Copies one topic from Kafka to Postgres.

A slice is a batch of records that the sink writes in one transaction. While the gate is open, for each slice the sink

1. decodes the records, and dead-letters those that cannot be read;
2. writes the rows in a transaction that compares and sets the offsets in Postgres (`streams.sink.history`);
3. commits the offsets to Kafka, for lag monitoring only.

Step 2 has a thread of its own; meanwhile the next slice is fetched and decoded. If Postgres does not answer, or its
offsets are not those at which the slice begins, the sink rewinds to the offsets in Postgres. A row that Postgres
rejects is dead-lettered, and the rest of its slice is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from contextlib import contextmanager
from typing import Generic, TypeVar

from confluent_kafka import Message

from connectors.errors import InvalidDataError, PositionMismatchError, UnavailableError
from connectors.kafka.batch import Batch, offset_of, partition_of
from connectors.kafka.consumer import PositionedConsumer
from connectors.kafka.offsets import OffsetReader, start_offset
from connectors.kafka.producer import ConfirmedProducer
from connectors.repeats import Repeats
from streams.connections import kafka_config
from streams.dead_letters import DeadLetterLog, count_dead_letters, dead_letter, letter_of_batch, write_dead_letters
from streams.gate.cpu_aware import CLOSED_POLL_S, Gate
from streams.process.background import in_background
from streams.records import DeadPost, DeadReason
from streams.settings import Settings
from streams.sink.backlog import BacklogReader, PartitionBacklog, is_near_retention
from streams.sink.history import History
from streams.sink.intake import Slice, decode_all, store_all
from streams.sink.ledger import Span, spans_of
from streams.sink.metrics import SinkMetrics
from streams.sink.slices import SliceSize
from streams.sink.targets import Target

logger = logging.getLogger(__name__)

POLL_S, ONCE_POLL_S = 0.25, 0.1
"""Seconds that a slice waits to fill. Fewer, larger transactions cost Postgres less. A sink that ends when all is
written waits less: its backlog fills all slices but the last one."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds to wait after each failed try while a server does not answer; the last value repeats."""

BACKLOG_POLL_S = 5.0
"""Seconds between two reads of the backlog and of the offsets in Postgres."""

REPORT_S = 30.0
"""Seconds between two log lines that say how much was written, or that the backlog is in danger."""

R = TypeVar("R")


class TopicSink(Generic[R]):
    """Copies one topic to Postgres: a member of a consumer group that resumes from the offsets in Postgres.

    Attributes:
        retention_s: seconds that Kafka keeps a record of the topic; None if it never deletes records.
        backlog: the backlog of each assigned partition, as it was last read.
        last_error: why the last write, or the last read of the backlog, failed; None if it succeeded.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        target: Target[R],
        history: History,
        lookups: History,
        *,
        producer: ConfirmedProducer,
        gate: Gate,
        metrics: SinkMetrics,
        retention_s: float | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        """Prepare the sink.

        `history` writes. `lookups` reads the stored offsets, also during a write, so it must be another connection. The
        producer writes dead letters. `poll_s` is how long a slice waits to fill while the sink runs on.
        """
        self._settings = settings
        self._topic = topic
        self._target = target
        self._history = history
        self._lookups = lookups
        self._producer = producer
        self._gate = gate
        self._metrics = metrics
        self._dead_letter_log = DeadLetterLog(settings.topic_dead)
        self._repeats = Repeats()
        self.retention_s = retention_s
        self._poll_s = poll_s
        # Half of `sink_batch`: one slice is written while the next one is decoded.
        self._slice_size = SliceSize(settings.sink_slice_ms / 1_000, max(1, settings.sink_batch // 2))
        self._writing: tuple[Slice[R], Future[int]] | None = None
        self._decoded: Slice[R] | None = None
        self._failures = 0
        self._written = 0
        self._poll_due = 0.0
        self._report_due = time.monotonic() + REPORT_S
        self.backlog: list[PartitionBacklog] = []
        self.last_error: str | None = None

    @property
    def name(self) -> str:
        """The name of the topic."""
        return self._topic

    @property
    def oldest_s(self) -> float | None:
        """Seconds that the oldest record of the backlog has waited; None if none waits. Any thread may read it."""
        ages = [one.age_s() for one in self.backlog if one.oldest_ms is not None]
        return max(ages, default=None)

    @property
    def in_danger(self) -> bool:
        """Whether the backlog is near the topic's retention. Any thread may read it."""
        return is_near_retention(self.oldest_s, self.retention_s)

    def run(self, stop: threading.Event, *, all_partitions: bool = False) -> None:
        """Run until `stop` is set.

        With `all_partitions` it reads every partition, also those of a sink that is running. The offsets in Postgres
        decide which of the two sinks writes a record.

        Raises:
            ConnectorError: Kafka or Postgres rejects the call, or the load can no longer be measured.
        """
        if all_partitions:
            self._poll_s = ONCE_POLL_S
        kafka = kafka_config(self._settings)
        group = f"{self._settings.group_prefix}-sink"
        reader = OffsetReader(kafka, group=group)
        consumer = PositionedConsumer(
            kafka,
            group=f"{group}-once-{self._topic}" if all_partitions else f"{group}-{self._topic}",
            topic=self._topic,
            positions=lambda p: self._positions(reader, p),
        )
        backlog = BacklogReader(reader, self._topic)
        try:
            while not stop.is_set():
                if self._gate.is_open():
                    self._copy_slice(consumer, stop)
                else:
                    self._finish_write(consumer, stop)
                    self._wait_closed(consumer, stop)
                if time.monotonic() >= self._poll_due:
                    self._poll_due = time.monotonic() + BACKLOG_POLL_S
                    self._poll_backlog(consumer, backlog, idle=self._decoded is None and self._writing is None)
            self._finish_write(consumer, stop)
            self._log_written()
        finally:
            if self._writing is not None:
                wait_for_futures([self._writing[1]])
            consumer.close()
            reader.close()
            self._history.close()
            self._lookups.close()
            self._dead_letter_log.flush()

    def _copy_slice(self, consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Fetch and decode a slice while the slice before is written; then start to write it, if the gate is open."""
        if consumer.is_paused:
            consumer.resume()
        if self._decoded is None and (batch := consumer.poll(self._slice_size.records, self._poll_s)) is not None:
            with self._rewinding(consumer, stop):
                self._decoded = self._decode(batch)
        self._finish_write(consumer, stop)
        if self._decoded is not None and not consumer.is_current(self._decoded.batch):
            self._decoded = None
        if self._decoded is not None and self._gate.is_open():
            self._start_write(self._decoded)
            self._decoded = None

    def _wait_closed(self, consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Wait, stay a member of the group, and fetch nothing: the backlog waits in Kafka."""
        if not consumer.is_paused:
            consumer.pause()
        stop.wait(CLOSED_POLL_S)
        if consumer.poll(1, 0) is not None:
            # The record was fetched before the pause took effect. The rewind drops it.
            consumer.rewind("a record arrived while the gate was closed")

    def _positions(self, reader: OffsetReader, partitions: Sequence[int]) -> Mapping[int, int]:
        bounds = reader.all_bounds(self._topic, partitions)
        stored, gaps = self._lookups.start_offsets(self._topic, bounds)
        for gap in gaps:
            self._metrics.gap_offsets.labels(self._topic).inc(gap.end - gap.start)
            logger.error(
                "%s[%d]: Kafka deleted the offsets %d to %d before they were written; recorded in sink_gaps",
                self._topic,
                gap.partition,
                gap.start,
                gap.end - 1,
            )
        return {
            partition: start_offset(self._topic, partition, stored[partition], bounds[partition], None)
            for partition in partitions
        }

    def _decode(self, batch: Batch) -> Slice[R]:
        """Do step 1: decode the batch, and write dead letters for records and batches that cannot be read."""
        entries, dead = decode_all(batch.messages, self._target.decode)
        letters = [*(dead_letter(*one) for one in dead), *map(letter_of_batch, batch.unreadable)]
        if letters:
            self._write_dead_letters(letters)
        return Slice(batch, entries)

    def _start_write(self, decoded: Slice[R]) -> None:
        """Start step 2 in a thread."""
        written = in_background(lambda: self._write_slice(decoded), name=f"sink-write-{self._topic}")
        self._writing = decoded, written

    def _finish_write(self, consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Wait for the end of the write that is running, if there is one, and do step 3."""
        if self._writing is None:
            return
        (decoded, written), self._writing = self._writing, None
        with self._rewinding(consumer, stop):
            self._written += written.result()
            self._failures = 0
            self.last_error = None
            consumer.done(decoded.batch)

    @contextmanager
    def _rewinding(self, consumer: PositionedConsumer, stop: threading.Event) -> Iterator[None]:
        """Rewind to the offsets in Postgres after an error in the block, and wait if a server did not answer."""
        try:
            yield
        except PositionMismatchError as exc:
            self._rewind(consumer, "position", exc)
        except UnavailableError as exc:
            wait = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
            self.last_error = str(exc)
            self._rewind(consumer, "unavailable", exc)
            stop.wait(wait)

    def _rewind(self, consumer: PositionedConsumer, cause: str, why: Exception) -> None:
        self._metrics.rewinds.labels("sink", cause).inc()
        consumer.rewind(str(why))

    def _write_slice(self, decoded: Slice[R]) -> int:
        """Do step 2: write a slice, and dead-letter the rows that Postgres rejects.

        Returns the number of rows written.
        """
        starts = dict(decoded.batch.starts)
        written = 0

        def store(entries: Sequence[tuple[Message, R | None]]) -> None:
            nonlocal written
            spans = spans_of(((partition_of(message), offset_of(message)) for message, _ in entries), starts)
            rows = [row for _, row in entries if row is not None]
            self._write_rows(rows, spans, records=len(entries))
            starts.update({span.partition: span.end for span in spans})
            written += len(rows)

        def on_rejected(entry: tuple[Message, R | None], why: InvalidDataError) -> None:
            message, row = entry
            if row is None:
                raise why  # the transaction has offsets only, so the content of no record is the cause
            self._write_dead_letters([dead_letter(message, DeadReason.NOT_STORABLE, str(why))])
            store([(message, None)])

        if decoded.batch.unreadable:
            self._history.record_unreadable(self._topic, decoded.batch.unreadable)
        store_all(decoded.entries, store, on_rejected)
        # The last records of a partition may be those of an unreadable batch.
        ends = decoded.batch.ends().items()
        rest = [Span(partition, starts[partition], end, 0) for partition, end in ends if starts[partition] < end]
        if rest:
            self._history.write(self._topic, self._target, (), rest)
        return written

    def _write_rows(self, rows: Sequence[R], spans: Sequence[Span], *, records: int) -> None:
        begin = time.monotonic()
        self._history.write(self._topic, self._target, rows, spans)
        seconds = time.monotonic() - begin
        self._slice_size.observe(records, seconds)
        self._metrics.write_seconds.labels(self._topic).observe(seconds)
        self._metrics.written.labels(self._topic).inc(len(rows))
        self._metrics.last_write.labels(self._topic).set_to_current_time()

    def _write_dead_letters(self, letters: Sequence[DeadPost]) -> None:
        write_dead_letters(self._producer, letters, self._settings.topic_dead)
        count_dead_letters(letters, self._metrics)
        self._dead_letter_log.add(letters)

    def _poll_backlog(self, consumer: PositionedConsumer, backlog: BacklogReader, *, idle: bool) -> None:
        """Read the backlog, and rewind if nothing is being written and the offsets in Postgres have changed."""
        next_offsets = consumer.next_offsets
        before = self.backlog
        try:
            self.backlog = backlog.read(next_offsets)
            stored = self._lookups.offsets(self._topic, next_offsets)
        except UnavailableError as exc:
            self.last_error = str(exc)
            self._metrics.backlog_failures.inc()
            if self._repeats.due("backlog"):
                logger.info("cannot read the backlog of %s, trying again: %s", self._topic, exc)
        else:
            self.last_error = None
            self._repeats.end("backlog")
            if idle and any(stored.get(partition) != offset for partition, offset in next_offsets.items()):
                # Else a restored database would be noticed only when the next record is written.
                why = f"the offsets of {self._topic} in PostgreSQL are not those of this sink"
                self._rewind(consumer, "position", PositionMismatchError(why))
        # A partition that another sink has taken is in the metrics of that sink.
        for gone in {one.partition for one in before} - {one.partition for one in self.backlog}:
            self._metrics.backlog_records.remove(self._topic, gone)
        self._update_metrics()

    def _log_written(self) -> None:
        """Log how many records were written since the last call."""
        if self._written:
            logger.info("%s: records written: %d", self._topic, self._written)
            self._written = 0

    def _update_metrics(self) -> None:
        for one in self.backlog:
            self._metrics.backlog_records.labels(self._topic, one.partition).set(one.records)
        oldest_s = self.oldest_s or 0.0
        self._metrics.backlog_seconds.labels(self._topic).set(oldest_s)
        if self.retention_s is not None:
            self._metrics.retention_share.labels(self._topic).set(oldest_s / self.retention_s)
        if time.monotonic() >= self._report_due:
            self._report_due = time.monotonic() + REPORT_S
            self._log_written()
            if self.in_danger:
                logger.warning(
                    "%s: the oldest unwritten record has waited %.0f s, and Kafka deletes it after %.0f s; set "
                    "EMOSTREAM_SINK_MAX_DELAY_S, or run the sink on a machine that is less busy",
                    self._topic,
                    oldest_s,
                    self.retention_s,
                )
