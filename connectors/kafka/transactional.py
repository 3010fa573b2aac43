"""A transactional producer: it publishes all records of a batch or none, and only the newest producer of an id can."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, log_client_error, to_connector_error
from connectors.kafka.producer import MAX_MESSAGE_BYTES, Outgoing

logger = logging.getLogger(__name__)

TRANSACTION_TIMEOUT_MS = 30_000
"""Milliseconds after which the broker aborts an open transaction. A producer that crashed in a transaction blocks
readers for at most this long."""

COMMIT_TIMEOUT_S = 5.0
"""Seconds for a commit or an abort: longer than the election of a new leader takes. A stop waits this long."""

_PASSES_WITH_THE_PRODUCER = {
    KafkaError.INVALID_PRODUCER_EPOCH,  # the broker aborted the transaction because it took too long
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError._INCONSISTENT,  # the client dropped records and tells no cause
}
"""Errors that concern the state of one producer. A new producer of the same id does not meet them."""

_DROPPED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
"""Errors of records that the client drops because something else has failed."""


class FencedError(RejectedError):
    """Another producer has taken over the transactional id; this one can no longer write."""


class TransactionalProducer:
    """Publishes batches of records atomically under a `transactional.id`. Blocking; use from one thread at a time.

    The broker fences all older producers of the same id (KIP-98), so a process that was paused and resumes later cannot
    write.
    """

    def __init__(self, config: KafkaConfig, transactional_id: str) -> None:
        """Take over the transactional id. A transaction that its former producer left open is finished or aborted.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        self._timeout_s = config.timeout_s
        self.transactional_id = transactional_id
        self._failed: KafkaError | None = None
        options = config.librdkafka(
            client_id=transactional_id,
            transactional_id=transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            message_timeout_ms=TRANSACTION_TIMEOUT_MS,
            message_max_bytes=MAX_MESSAGE_BYTES,
            compression_type="lz4",
            linger_ms=5,
            delivery_report_only_error=True,
        )
        callbacks = {"error_cb": log_client_error, "on_delivery": self._note_failure}
        self._producer = Producer({**options, **callbacks}, logger=logger)
        try:
            self._producer.init_transactions(self._timeout_s)
        except KafkaException as exc:
            raise self._translate(exc, "taking over") from exc

    def publish(self, records: Sequence[Outgoing]) -> None:
        """Write the records in one transaction, and return when it is committed.

        Raises:
            FencedError: A newer producer has taken over the id. Drop this producer.
            UnavailableError: The records may or may not have been published. A new producer may succeed.
            RejectedError: Kafka rejected a record, or the call, for good.

        After any error drop this producer, because the client may reject the next transaction after a record that
        failed.
        """
        self._failed = None
        try:
            self._producer.begin_transaction()
            for record in records:
                self._produce(record)
            self._producer.commit_transaction(COMMIT_TIMEOUT_S)
        except KafkaException as exc:
            self._abort_after(exc)

    def _produce(self, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _note_failure(self, error: KafkaError | None, _: Message) -> None:
        """Keep why the first record failed. The error of a commit may say only that some records did."""
        if error is not None and error.code() not in _DROPPED:
            self._failed = self._failed or error

    def _abort_after(self, exc: KafkaException) -> None:
        error = kafka_error_of(exc)
        if error.fatal():
            raise self._translate(exc, "publishing") from exc
        cause = self._failed or error
        try:
            self._producer.abort_transaction(COMMIT_TIMEOUT_S)
        except KafkaException as abort_exc:
            translated = self._translate(abort_exc, "aborting")
            if isinstance(translated, FencedError):
                raise translated from exc
            # The commit may have succeeded and only its answer was lost. The next producer of the id ends it.
            outcome = f"left open: {translated}"
        else:
            outcome = f"aborted: {cause.str()}"
        if is_transient(cause) or cause.code() in _PASSES_WITH_THE_PRODUCER:
            raise UnavailableError(f"a transaction of {self.transactional_id} was {outcome}") from exc
        raise to_connector_error(cause, f"publishing as {self.transactional_id}") from exc

    def _translate(self, exc: KafkaException, doing: str) -> Exception:
        error = kafka_error_of(exc)
        if error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
            return FencedError(f"{self.transactional_id} was taken over by another producer")
        return to_connector_error(error, f"{doing} as {self.transactional_id}")

    def close(self) -> None:
        """Drop the queued records and close the connections. The next producer of the id ends an open transaction."""
        self._producer.purge()
        with suppress(KafkaException):  # the fatal error of the client, which was raised before
            self._producer.flush(1.0)
