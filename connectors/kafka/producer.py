"""Production that is only done when the broker has confirmed every record.

The producer is idempotent with acks=all. Unless told to give up after a time, it never times a record out and treats
any failed record as fatal (`enable.gapless.guarantee`): the records of a partition then reach the log in the order they
were given and without a gap, which is what lets a stage resume from the last record of its own output. It also lets a
partition's first and last record stand for those between, so that only they are asked to be confirmed. While the broker
is away deliveries wait; the backlog grows in Kafka and nowhere else, because callers wait for their delivery.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.batch import partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import kafka_error_of, log_client_error, to_connector_error

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Largest record we write: a dead letter holds up to 1 MiB of raw bytes in base64 (4/3), plus its other fields."""

PARTITION_BY_KEY = -1  # RD_KAFKA_PARTITION_UA

_POLL_S = 0.25


class Outgoing(NamedTuple):
    """A record to write. `partition` None leaves the choice to the producer's partitioner (by key)."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None


WrittenOffsets = Mapping[tuple[str, int], range]
"""Where records are, by topic and partition: the offsets from the first of them to the last, with those of others that
were written in between. Without a partition where the broker did not say."""


class _Delivery:
    """Counts the confirmations of one call of `submit`."""

    def __init__(self, expected: int) -> None:
        self.future: Future[WrittenOffsets] = Future()
        # A running future cannot be cancelled, so whoever stops waiting cannot make `confirm` fail.
        self.future.set_running_or_notify_cancel()
        self._missing = expected
        self._offsets: dict[tuple[str, int], set[int | None]] = {}

    def confirm(self, error: KafkaError | None, message: Message) -> None:
        self._missing -= 1
        if error is not None:
            self.fail(to_connector_error(error, f"writing to {message.topic()}"))
            return
        self._offsets.setdefault((message.topic() or "", partition_of(message)), set()).add(message.offset())
        if self._missing == 0:
            with suppress(InvalidStateError):  # it has failed before
                self.future.set_result(self._written())

    def _written(self) -> WrittenOffsets:
        # A record that the broker had already, from a try whose answer was lost, is confirmed without an offset.
        known = {where: [at for at in found if at is not None] for where, found in self._offsets.items()}
        return {
            where: range(min(offsets), max(offsets) + 1)
            for where, offsets in known.items()
            if len(offsets) == len(self._offsets[where])
        }

    def fail(self, error: ConnectorError) -> None:
        with suppress(InvalidStateError):  # whoever is first, of two threads
            self.future.set_exception(error)


class ConfirmedProducer:
    """An idempotent producer whose `deliver` returns once all its records are in the log.

    Thread-safe. Owns one thread, which serves delivery reports, until `close`.
    """

    def __init__(self, config: KafkaConfig, *, client_id: str, give_up_after_s: float | None = None) -> None:
        """Connect with the first record.

        Args:
            config: how to reach Kafka.
            client_id: shown in the broker's logs and metrics.
            give_up_after_s: a record that is not confirmed by then fails, and those after it may still arrive: for
                people who wait, and records that stand for themselves. None never gives up and leaves no gap.
        """
        self._give_up_after_s = give_up_after_s
        self._pending: set[_Delivery] = set()
        self._fatal: ConnectorError | None = None
        options = config.librdkafka(
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            enable_gapless_guarantee=give_up_after_s is None,
            message_timeout_ms=0 if give_up_after_s is None else int(give_up_after_s * 1_000),
            message_max_bytes=MAX_MESSAGE_BYTES,
            linger_ms=5,
            compression_type="lz4",
        )
        self._producer = Producer({**options, "error_cb": log_client_error}, logger=logger)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"{client_id}-deliveries", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.poll(_POLL_S)
            except KafkaException as exc:
                self._fail(exc)

    def _fail(self, exc: KafkaException) -> None:
        """The client raises what ends it for good, and may report nothing more of what it was given."""
        self._fatal = to_connector_error(kafka_error_of(exc), "writing")
        for delivery in list(self._pending):
            delivery.fail(self._fatal)

    def submit(self, records: Sequence[Outgoing]) -> Future[WrittenOffsets]:
        """Queue the records, in order; the future is done when all are confirmed, or one has failed.

        Blocks only while librdkafka's queue is full.

        Raises:
            ConnectorError: if a record is refused at once (too large, or the producer has failed for good), or the
                queue stays full for `give_up_after_s`.
        """
        asked = self._to_confirm(records)
        delivery = _Delivery(len(asked))
        if not records:
            delivery.future.set_result({})
            return delivery.future
        self._pending.add(delivery)
        delivery.future.add_done_callback(lambda _: self._pending.discard(delivery))
        try:
            for number, record in enumerate(records):
                self._enqueue(record, delivery.confirm if number in asked else None)
        except ConnectorError:
            self._pending.discard(delivery)
            raise
        if self._fatal is not None:  # it may have come before the first record, and told nobody
            delivery.fail(self._fatal)
        return delivery.future

    def _to_confirm(self, records: Sequence[Outgoing]) -> Collection[int]:
        """Whose confirmation says that all records are in the log: a partition's first and last, where it is known.

        The last alone would do, but for a topic that Kafka forgets for a while: that fails what waits just then, and is
        not fatal.
        """
        if self._give_up_after_s is not None:
            return range(len(records))
        asked: set[int] = set()
        last: dict[tuple[str, int], int] = {}
        for number, (topic, _, _, partition) in enumerate(records):
            if partition is None or (topic, partition) not in last:
                asked.add(number)
            if partition is not None:
                last[topic, partition] = number
        return asked.union(last.values())

    def _enqueue(self, record: Outgoing, on_delivery: Callable[[KafkaError | None, Message], None] | None) -> None:
        partition = PARTITION_BY_KEY if record.partition is None else record.partition
        deadline = None if self._give_up_after_s is None else time.monotonic() + self._give_up_after_s
        while not self._stopping.is_set():
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, partition=partition, on_delivery=on_delivery
                )
            except BufferError as exc:
                if deadline is not None and time.monotonic() > deadline:
                    raise UnavailableError(f"Kafka did not answer while writing to {record.topic}") from exc
                self._stopping.wait(_POLL_S)  # the thread is emptying the queue
            except KafkaException as exc:
                # Once it has failed for good, that is all it says; why is known from then.
                raise self._fatal or to_connector_error(kafka_error_of(exc), f"writing to {record.topic}") from exc
            else:
                return
        raise ConnectorError("the producer is closed")

    async def deliver(self, records: Sequence[Outgoing]) -> WrittenOffsets:
        """Write the records, in order, and wait until the broker has confirmed every one.

        Returns:
            Where they are.

        Raises:
            ConnectorError: if a record was refused. Nothing after it may be assumed written.
        """
        if not records:
            return {}
        future = await asyncio.to_thread(self.submit, records)
        return await asyncio.wrap_future(future)

    def close(self, timeout_s: float = 5.0) -> int:
        """Wait up to `timeout_s` for what is queued, then give up on it.

        Returns:
            The number of records that were not confirmed.
        """
        left = self._flush(timeout_s)
        self._stopping.set()
        self._thread.join()
        if left:
            self._producer.purge()
            self._flush(1.0)
        return left

    def _flush(self, timeout_s: float) -> int:
        try:
            left: int = self._producer.flush(timeout_s)
        except KafkaException as exc:
            self._fail(exc)
            return len(self._producer)
        return left
