"""A producer whose delivery is done only when the broker has confirmed every record.

The producer is idempotent with acks=all. By default records wait without a time limit, and a record that fails is
fatal (`enable.gapless.guarantee`). So the records of a partition reach the log in the order in which they were given
and without a gap, and a stage can resume from the last record of its own output. With `give_up_after_s` a record fails
after that time.

If no broker answers, deliveries wait. Callers wait for their delivery and consume nothing meanwhile, so the input stays
in Kafka and does not fill the memory.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
"""Largest record in bytes. A dead letter holds up to 1 MiB of a value and 1 MiB of a key, both in base64 (4/3). That
part of the key is also its own key."""

PARTITION_BY_KEY = -1
"""Tells the client to choose the partition by the key (RD_KAFKA_PARTITION_UA)."""

_POLL_S = 0.1
"""Longest wait of the thread for a delivery report, so also the time that `close` waits for it."""


class Outgoing(NamedTuple):
    """A record to write. If `partition` is None, the client chooses the partition by the key.

    A `value` of None removes the key from a compacted topic.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None


WrittenOffsets = Mapping[tuple[str, int], range]
"""By topic and partition: the offsets from the first written record to the last. The range is longer than the number of
records if others wrote in between. A partition whose offsets the broker did not report is left out."""


class _Delivery:
    """Collects the confirmations for one call of `submit`."""

    def __init__(self, expected: int) -> None:
        self.future: Future[WrittenOffsets] = Future()
        # A running future cannot be cancelled, so `confirm` does not fail when the caller stops waiting.
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
            with suppress(InvalidStateError):  # the delivery has failed before
                self.future.set_result(self._written())

    def _written(self) -> WrittenOffsets:
        # A record that was sent twice, because the first answer was lost, is confirmed without an offset.
        known = {where: [at for at in found if at is not None] for where, found in self._offsets.items()}
        return {
            where: range(min(offsets), max(offsets) + 1)
            for where, offsets in known.items()
            if len(offsets) == len(self._offsets[where])
        }

    def fail(self, error: ConnectorError) -> None:
        with suppress(InvalidStateError):  # another thread may have set a result or an error first
            self.future.set_exception(error)


class ConfirmedProducer:
    """An idempotent producer whose `deliver` returns when all its records are in the log.

    Thread-safe. One thread serves delivery reports until `close`.
    """

    def __init__(
        self,
        config: KafkaConfig,
        *,
        client_id: str,
        give_up_after_s: float | None = None,
        compression: str = "lz4",
        batch_bytes: int | None = None,
    ) -> None:
        """Start the thread. The connection is made with the first record.

        Args:
            config: How to reach Kafka.
            client_id: Shown in the broker's logs and metrics.
            give_up_after_s: Seconds after which a record that is not confirmed fails. Records after it may still be
                written, so this is only for records that do not depend on each other, such as posts that a user sends.
                None never gives up, and leaves no gap.
            compression: The compression of the batches. The broker recompresses those of a topic with another one.
            batch_bytes: The most bytes of a batch of several records, for a topic with a small `max.message.bytes`;
                by default that of the client, 1 MB.
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
            compression_type=compression,
            **({} if batch_bytes is None else {"batch_size": batch_bytes}),
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
        """Fail all deliveries: the client has failed for good, and may report nothing more."""
        self._fatal = to_connector_error(kafka_error_of(exc), "writing")
        for delivery in list(self._pending):
            delivery.fail(self._fatal)

    def submit(self, records: Sequence[Outgoing]) -> Future[WrittenOffsets]:
        """Queue the records, in order. Blocks only while librdkafka's queue is full.

        Returns:
            A future that is done when all records are confirmed, or one has failed.

        Raises:
            ConnectorError: A record was rejected at once (it is too large, or the producer has failed for good), or the
                queue stayed full for `give_up_after_s`.
        """
        delivery = _Delivery(len(records))
        if not records:
            delivery.future.set_result({})
            return delivery.future
        self._pending.add(delivery)
        delivery.future.add_done_callback(lambda _: self._pending.discard(delivery))
        try:
            for record in records:
                # If Kafka's metadata lacks the topic for a moment, the client fails the records that wait at that
                # moment. A later one that is written would leave a gap.
                if delivery.future.done():
                    break
                self._enqueue(record, delivery.confirm)
        except ConnectorError:
            self._pending.discard(delivery)
            raise
        if self._fatal is not None:  # the client failed while this delivery was not pending yet
            delivery.fail(self._fatal)
        return delivery.future

    def _enqueue(self, record: Outgoing, on_delivery: Callable[[KafkaError | None, Message], None]) -> None:
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
                self._stopping.wait(_POLL_S)  # meanwhile the thread empties the queue
            except KafkaException as exc:
                # After a fatal error the client reports only that it has failed; `_fatal` has the reason.
                raise self._fatal or to_connector_error(kafka_error_of(exc), f"writing to {record.topic}") from exc
            else:
                return
        raise ConnectorError("the producer is closed")

    async def deliver(self, records: Sequence[Outgoing]) -> WrittenOffsets:
        """Write the records, in order, and wait until the broker has confirmed every one.

        Returns:
            The offsets of the records.

        Raises:
            ConnectorError: A record was rejected. The records after it may or may not have been written.
        """
        if not records:
            return {}
        future = await asyncio.to_thread(self.submit, records)
        return await asyncio.wrap_future(future)

    def close(self, timeout_s: float = 5.0) -> int:
        """Stop the thread, wait up to `timeout_s` seconds for the records in the queue, then drop the rest.

        Returns:
            The number of records that were not confirmed.
        """
        self._stopping.set()
        self._thread.join()  # a flush serves the delivery reports itself, in the calling thread
        left = self._flush(timeout_s)
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
