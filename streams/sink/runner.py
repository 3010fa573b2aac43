"""Runs the sink: one thread per topic, each a consumer-group member that resumes from Postgres."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

from confluent_kafka import Message
from pydantic import ValidationError

from connectors.errors import UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.consumer import Batch, PositionedConsumer, offset_of
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.dead_letters import dead_letter, outgoing
from streams.positions import start_offset
from streams.records import ClassifiedPost, DeadReason, EmotionWindow, Record, explain
from streams.settings import Settings
from streams.sink.gate import Gate, OpenGate
from streams.sink.history import History
from streams.sink.rows import OffsetMoved, Span
from streams.topology import check_topics
from streams.wiring import kafka_config

logger = logging.getLogger(__name__)

POLL_S = 0.25
"""How long a batch waits to fill. The sink is not in a hurry; fewer, larger transactions cost Postgres less."""

CLOSED_POLL_S = 0.5
"""Between two looks at a closed gate."""

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits while Postgres is away; the last one repeats."""

STOP_S = 10.0
"""For the transaction in hand, and for leaving the group, when the sink is told to stop."""

REPORT_S = 30.0
"""Pace of the line that says how much was written."""

DELIVERY_TIMEOUT_S = 30.0
"""For a dead letter; beyond it the batch is read again."""

R = TypeVar("R", bound=Record)
Write = Callable[[str, Sequence[R], Sequence[Span]], None]


class TopicSink(Generic[R]):
    """Copies one topic to Postgres, in one thread.

    For each batch: 1. decode, dead-lettering what cannot be read; 2. in one transaction compare the offsets, write the
    rows, set the offsets; 3. commit to Kafka for lag monitoring. Postgres being away, or standing elsewhere, ends in a
    rewind to what it says.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        record: type[R],
        history: History,
        write: Write[R],
        *,
        producer: ConfirmedProducer,
        gate: Gate,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._record = record
        self._history = history
        self._write = write
        self._producer = producer
        self._gate = gate
        self._failures = 0
        self._written = 0
        self._report_due = time.monotonic() + REPORT_S

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set.

        Raises:
            ConnectorError: Kafka or Postgres refused for good.
        """
        kafka = kafka_config(self._settings)
        group = f"{self._settings.group_prefix}-sink"
        reader = OffsetReader(kafka, group=group)
        consumer = PositionedConsumer(
            kafka, group=f"{group}-{self._topic}", topic=self._topic, positions=lambda p: self._positions(reader, p)
        )
        try:
            while not stop.is_set():
                if not self._gate.is_open():
                    self._wait_closed(consumer, stop)
                    continue
                batch = consumer.poll(self._settings.sink_batch, POLL_S)
                if batch is not None and consumer.is_current(batch):
                    self._flush(consumer, batch, stop)
                self._report()
        finally:
            consumer.close()
            reader.close()
            self._history.close()

    @staticmethod
    def _wait_closed(consumer: PositionedConsumer, stop: threading.Event) -> None:
        """Stay in the group and fetch nothing; the backlog waits in Kafka."""
        consumer.pause()
        stop.wait(CLOSED_POLL_S)
        if consumer.poll(1, 0) is not None:
            consumer.rewind("a rebalance fetched while the gate was closed")
        consumer.resume()

    def _positions(self, reader: OffsetReader, partitions: Sequence[int]) -> Mapping[int, int]:
        bounds = {partition: reader.bounds(self._topic, partition) for partition in partitions}
        stored, gaps = self._history.stand(self._topic, bounds)
        for gap in gaps:
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

    def _flush(self, consumer: PositionedConsumer, batch: Batch, stop: threading.Event) -> None:
        spans = [
            Span(partition, batch.starts[partition], offset_of(messages[-1]) + 1, len(messages))
            for partition, messages in sorted(batch.by_partition().items())
        ]
        try:
            records = self._decode(batch.messages)
            self._write(self._topic, records, spans)
        except OffsetMoved as exc:
            consumer.rewind(str(exc))
        except UnavailableError as exc:
            wait = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
            logger.warning("%s; trying again in %.1f s", exc, wait)
            consumer.rewind(str(exc))
            stop.wait(wait)
        else:
            self._failures = 0
            self._written += len(records)
            consumer.done(batch)

    def _decode(self, messages: Sequence[Message]) -> list[R]:
        records: list[R] = []
        dead: list[Outgoing] = []
        for message in messages:
            value = message.value()
            if value is None:
                continue  # a tombstone: the record was removed from the compacted topic
            try:
                records.append(self._record.model_validate_json(value))
            except ValidationError as exc:
                letter = dead_letter(message, DeadReason.INVALID_RECORD, explain(exc))
                logger.warning("%s[%d]@%d is not valid: %s", *letter.origin.model_dump().values(), letter.error)
                dead.append(outgoing(letter, self._settings.topic_dead))
        if dead:
            try:
                self._producer.submit(dead).result(DELIVERY_TIMEOUT_S)
            except FutureTimeoutError as exc:
                raise UnavailableError("Kafka did not confirm a dead letter") from exc
        return records

    def _report(self) -> None:
        if time.monotonic() >= self._report_due:
            self._report_due = time.monotonic() + REPORT_S
            if self._written:
                logger.info("%s: %d records written", self._topic, self._written)
                self._written = 0


def run_sink(settings: Settings, stop: threading.Event, gate: Gate | None = None) -> None:
    """Run the sink until `stop` is set, or until one of its threads fails for good.

    Raises:
        EmostreamError, ConnectorError: the user can act on it.
    """
    gate = gate or OpenGate()
    kafka = kafka_config(settings)
    check_topics(settings, KafkaAdmin(kafka).partition_counts())
    dsn = settings.postgres_dsn.get_secret_value()
    # Opened here first, so that a wrong address is one clear line at the start and not a retry for ever.
    histories = [History(dsn, application_name="emostream-sink") for _ in range(2)]
    histories[0].check()
    producer = ConfirmedProducer(kafka, client_id=f"{settings.group_prefix}-sink")
    posts = TopicSink(
        settings,
        settings.topic_classified,
        ClassifiedPost,
        histories[0],
        histories[0].write_posts,
        producer=producer,
        gate=gate,
    )
    windows = TopicSink(
        settings,
        settings.topic_windows,
        EmotionWindow,
        histories[1],
        histories[1].write_windows,
        producer=producer,
        gate=gate,
    )
    try:
        _run_threads([posts.run, windows.run], stop)
    finally:
        producer.close()


def _run_threads(targets: Sequence[Callable[[threading.Event], None]], stop: threading.Event) -> None:
    """Run each target in a thread until `stop`; the first failure stops them all and is raised."""
    failures: list[BaseException] = []

    def guarded(target: Callable[[threading.Event], None]) -> None:
        try:
            target(stop)
        except BaseException as exc:  # noqa: BLE001 - crosses from the thread to the caller
            failures.append(exc)
            stop.set()

    threads = [
        threading.Thread(target=guarded, args=(target,), name=f"sink-{i}", daemon=True)
        for i, target in enumerate(targets)
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    deadline = time.monotonic() + STOP_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            # What it was writing is one transaction, which is rolled back.
            logger.warning("%s did not stop in %.0f s; is a server away?", thread.name, STOP_S)
    if failures:
        raise failures[0]
