"""Reads the windows topic in rounds: all partitions up to an end that is the same moment for each. Blocking.

A round reads to the ends that the partitions had when it began. If more than `SLICE_RECORDS` wait, it reads only up to
a time of publication, in steps of `SLICE_MS`. So windows that were published together are read together, and memory has
a limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import UnavailableError
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, log_client_error, to_connector_error
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.unreadable import is_unreadable, skip_batch

logger = logging.getLogger(__name__)

SLICE_RECORDS = 50_000
"""Records that a round reads to their end. If more wait, it reads a slice of them."""

SLICE_MS = 600_000
"""The time of publication that a slice spans, in ms."""

_PAGE = 1_000
_WAIT_S = 0.5


class Round(NamedTuple):
    """What a round reads.

    Attributes:
        ends: by partition, the offset up to which the round reads.
        until_ms: the time of publication up to which it reads, in ms since 1970; None for the ends of the partitions.
        skipped: offsets that Kafka deleted before they were read.
    """

    ends: dict[int, int]
    until_ms: int | None
    skipped: int


class WindowIntake:
    """Reads all partitions of a topic from given offsets. One thread uses it at a time.

    Attributes:
        reached: by partition, the offset after the last record that was read.
    """

    def __init__(self, config: KafkaConfig, topic: str, *, group: str, positions: Mapping[int, int]) -> None:
        """Prepare to read from `positions`. `group` is a name that the client requires; nothing is committed to it."""
        self._config = config
        self._topic = topic
        self._offsets = OffsetReader(config, group=group)
        self._until_ms: int | None = None
        self.reached = dict(positions)
        options = config.consumer(
            group, enable_partition_eof=True, auto_offset_reset="error", isolation_level="read_committed"
        )
        self._consumer = Consumer({**options, "error_cb": log_client_error}, logger=logger)
        self._is_assigned = False

    def plan(self) -> Round:
        """Returns what the next round reads.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        bounds = self._offsets.all_bounds(self._topic, sorted(self.reached))
        skipped = 0
        for partition, (low, _) in bounds.items():
            if self.reached[partition] < low:
                skipped += low - self.reached[partition]
                self.reached[partition] = low
        if skipped or not self._is_assigned:
            # Not before the bounds are known: the client would report an offset that Kafka has deleted.
            self._consumer.assign([TopicPartition(self._topic, number, at) for number, at in self.reached.items()])
            self._is_assigned = True
        highs = {partition: high for partition, (_, high) in bounds.items()}
        if sum(high - self.reached[partition] for partition, high in highs.items()) <= SLICE_RECORDS:
            self._until_ms = None
            return Round(highs, None, skipped)
        return self._slice(highs, skipped)

    def _slice(self, highs: Mapping[int, int], skipped: int) -> Round:
        """Returns a round up to the next time of publication at which there is something to read."""
        until = self._until_ms or self._first_ms(highs)
        while True:
            until += SLICE_MS
            found = {number: self._offsets.offset_at(self._topic, number, until) for number in highs}
            # Timestamps of one partition need not rise, so an offset at a time may lie below what was read.
            ends = {}
            for number, high in highs.items():
                at = found[number]
                ends[number] = max(self.reached[number], high if at is None else min(at, high))
            if ends == highs:
                self._until_ms = None
                return Round(ends, None, skipped)
            if any(ends[number] > self.reached[number] for number in ends):
                self._until_ms = until
                return Round(ends, until, skipped)

    def _first_ms(self, highs: Mapping[int, int]) -> int:
        """Returns when the first record was published that is not read yet, in ms since 1970."""
        waiting = [number for number, high in highs.items() if high > self.reached[number]]
        first = [self._offsets.message_at(self._topic, number, self.reached[number]) for number in waiting]
        return min((message.timestamp()[1] for message in first if message is not None), default=0)

    def read(self, ends: Mapping[int, int]) -> Iterator[Message]:
        """Yield the records of all partitions up to `ends`, in the order of each partition.

        Raises:
            ConnectorError: Kafka did not answer for `timeout_s`, or rejected the call.
        """
        heard = time.monotonic()
        while any(self.reached[partition] < end for partition, end in ends.items()):
            try:
                messages = self._consumer.consume(_PAGE, _WAIT_S)
            except KafkaException as exc:
                raise to_connector_error(kafka_error_of(exc), f"reading {self._topic}") from exc
            if messages:
                heard = time.monotonic()
            for message in messages:
                if self._take(message):
                    yield message
            if time.monotonic() - heard > self._config.timeout_s:
                raise UnavailableError(f"Kafka did not answer while reading {self._topic}")

    def _take(self, message: Message) -> bool:
        """Note how far a partition was read; returns whether the message is a record that comes next."""
        error = message.error()
        if error is None:
            partition, offset = partition_of(message), offset_of(message)
            if offset < self.reached[partition]:
                return False  # it came before; see `skip_batch`
            self.reached[partition] = offset + 1
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            # Behind the last record there may be markers of transactions, or records that were compacted.
            partition = partition_of(message)
            self.reached[partition] = max(self.reached[partition], message.offset() or 0)
        elif is_unreadable(message):
            partition = partition_of(message)
            batch = skip_batch(self._consumer, self._config, message, self.reached[partition])
            if batch is not None:
                logger.error("%s; they are skipped", batch)
                self.reached[partition] = batch.end
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
            raise UnavailableError(f"{self._topic} no longer holds the offset: {error.str()}")
        elif not is_transient(error) and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise to_connector_error(error, f"reading {self._topic}")
        return False

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._offsets.close()
