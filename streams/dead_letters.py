"""Makes and writes the dead letters of consumed messages, for every stage."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from confluent_kafka import Message
from msgspec.structs import replace

from connectors.errors import UnavailableError
from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.metrics import ProcessMetrics
from streams.records import DeadPost, DeadReason, Origin
from streams.wording import counted

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 10.0
"""Seconds between two lines about dead letters in the log of a worker, so that a stream of bad messages does not fill
it."""

DELIVERY_TIMEOUT_S = 30.0
"""How long to wait until Kafka confirms dead letters. If it does not in time, the caller reads the messages again."""


def origin_of(message: Message) -> Origin:
    """Returns the topic, partition and offset of a consumed message."""
    return Origin(message.topic() or "", partition_of(message), offset_of(message))


def dead_letter(message: Message, reason: DeadReason, error: str) -> DeadPost:
    """Returns the dead letter of a consumed message."""
    return DeadPost.of(message.value(), message.key(), origin_of(message), reason, error)


def letter_of_batch(batch: UnreadableBatch) -> DeadPost:
    """Returns the dead letter of a batch that cannot be read."""
    origin = Origin(batch.topic, batch.partition, batch.first)
    letter = DeadPost.of(None, None, origin, DeadReason.UNREADABLE_BATCH, str(batch))
    return replace(letter, last_offset=batch.end - 1)


def count_dead_letters(letters: Iterable[DeadPost], metrics: ProcessMetrics) -> None:
    """Count dead letters that Kafka has confirmed."""
    for letter in letters:
        metrics.dead.labels(letter.reason.value).inc()
        if letter.last_offset is not None:
            metrics.unreadable.labels(letter.origin.topic).inc(letter.last_offset + 1 - letter.origin.offset)


def outgoing(letter: DeadPost, topic: str) -> Outgoing:
    """Returns a dead letter as a record for the producer, under the key of its message."""
    return Outgoing(topic, letter.to_json(), letter.key_bytes())


def write_dead_letters(producer: ConfirmedProducer, letters: Sequence[DeadPost], topic: str) -> None:
    """Write dead letters, and return when Kafka has confirmed all of them.

    Raises:
        UnavailableError: Kafka did not confirm them in time. They may be in the topic nevertheless.
        ConnectorError: Kafka rejected them.
    """
    try:
        producer.submit([outgoing(letter, topic) for letter in letters]).result(DELIVERY_TIMEOUT_S)
    except TimeoutError as exc:
        raise UnavailableError(f"Kafka did not confirm dead letters within {DELIVERY_TIMEOUT_S:.0f} s") from exc


class DeadLetterLog:
    """Logs dead letters in at most one line every `LOG_INTERVAL_S` seconds. Thread-safe.

    The first ones are logged at once. Those that come within the interval are logged at its end, or by `flush`.
    """

    def __init__(self, topic: str, interval_s: float = LOG_INTERVAL_S) -> None:
        self._topic = topic
        self._interval_s = interval_s
        self._reasons: Counter[str] = Counter()
        self._last: DeadPost | None = None
        self._next_line_at = time.monotonic()
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def add(self, letters: Sequence[DeadPost]) -> None:
        """Count dead letters that Kafka has confirmed, and log them now or later."""
        if not letters:
            return
        with self._lock:
            self._reasons.update(letter.reason.value for letter in letters)
            self._last = letters[-1]
            wait_s = self._next_line_at - time.monotonic()
            if wait_s <= 0:
                self._write()
            elif self._timer is None:
                self._timer = threading.Timer(wait_s, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Log the dead letters since the last line; nothing if there are none."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._last is None:
            return
        origin = self._last.origin
        logger.warning(
            "%s on %s (%s); the last is %s[%d]@%d, %s. `emostream tail dead` shows them",
            counted(self._reasons.total(), "dead letter"),
            self._topic,
            ", ".join(f"{reason} {count:,}" for reason, count in self._reasons.most_common()),
            origin.topic,
            origin.partition,
            origin.offset,
            " ".join(self._last.error.split()),
        )
        self._reasons.clear()
        self._last = None
        self._next_line_at = time.monotonic() + self._interval_s
