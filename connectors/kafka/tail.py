"""Reads the records of a topic, from the beginning or near the end, and follows new ones, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import UnavailableError
from connectors.kafka.batch import UnreadableBatch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import kafka_error_of, to_connector_error
from connectors.kafka.unreadable import is_unreadable, skip_batch

_POLL_S = 0.2
"""Seconds of one poll; Ctrl-C takes up to this long."""


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """The fields of a message that a reader needs."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Tail:
    """Reads the records of one topic. Assigns the partitions itself: joins no group and commits nothing."""

    def __init__(
        self,
        config: KafkaConfig,
        topic: str,
        partitions: int,
        *,
        group: str,
        on_unreachable: Callable[[], None],
        on_unreadable: Callable[[UnreadableBatch], None],
    ) -> None:
        """Prepare a reader. The connection is made with the first request.

        Args:
            config: How to reach Kafka.
            topic: The topic.
            partitions: The topic's number of partitions.
            group: A group name, which librdkafka requires and does not use here.
            on_unreachable: Called when no broker answers; called again only after Kafka has answered in between.
            on_unreadable: Called for each batch that cannot be read. Its records are passed over.
        """
        self._topic = topic
        self._partitions = range(partitions)
        self._timeout_s = config.timeout_s
        self._config = config
        self._on_unreachable = on_unreachable
        self._on_unreadable = on_unreadable
        self._unreadable: list[UnreadableBatch] = []
        self._unreachable = False
        options = config.consumer(
            group, enable_auto_offset_store=False, enable_partition_eof=True, auto_offset_reset="earliest"
        )
        self._consumer = Consumer({**options, "error_cb": self._on_error})

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def records(self, *, last: int | None, follow: bool) -> Iterator[KafkaRecord]:
        """Yield the records that the topic holds, then new records as they come.

        Args:
            last: How many of the last records to begin with, in the order of their timestamps. None begins with all
                records that the topic holds, each partition in its order.
            follow: Whether to wait for new records when the end is reached.

        Raises:
            ConnectorError: Kafka rejected the call, or did not answer before the end was reached for the first time.
        """
        bounds = {partition: self._bounds(partition) for partition in self._partitions}
        if last is None:
            self._consumer.assign(self._at({partition: low for partition, (low, _) in bounds.items()}))
            yield from map(_record, self._until({n: high for n, (low, high) in bounds.items() if low < high}))
        else:
            newest = sorted(self._last_of_each(last, bounds), key=lambda message: message.timestamp()[1])
            yield from map(_record, newest[max(0, len(newest) - last) :])
        while follow:
            message = self._poll()
            if message is not None:
                yield _record(message)

    def _last_of_each(self, last: int, bounds: dict[int, tuple[int, int]]) -> list[Message]:
        """Returns at least the last `last` records of each partition; all records of a partition that has fewer.

        A transaction marker has an offset and is no record. So `last` offsets may hold fewer records, and the reader
        goes back until there are enough.
        """
        found: list[Message] = []
        missing = dict.fromkeys(bounds, last)
        highs = {partition: high for partition, (_, high) in bounds.items()}
        starts = dict(highs)
        span = last
        while ends := {n: starts[n] for n in bounds if missing[n] > 0 and starts[n] > bounds[n][0]}:
            starts |= {partition: max(bounds[partition][0], end - span) for partition, end in ends.items()}
            if span == last:
                self._consumer.assign(self._at({partition: starts[partition] for partition in ends}))
            else:
                self._seek({partition: starts[partition] for partition in ends})
            for message in self._until(dict(ends)):
                partition = message.partition() or 0
                # The others were found in an earlier round, or are new.
                if (message.offset() or 0) < ends.get(partition, 0):
                    found.append(message)
                    missing[partition] -= 1
            span *= 2
        # New records follow from here on. A partition that was read is set back to where they begin.
        self._seek({partition: highs[partition] for partition in starts if starts[partition] < highs[partition]})
        self._consumer.incremental_assign(self._at({n: high for n, high in highs.items() if starts[n] == high}))
        return found

    def _at(self, offsets: dict[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]

    def _seek(self, offsets: dict[int, int]) -> None:
        # librdkafka 2.11 aborts if partitions are assigned again before they have been started.
        try:
            for partition in self._at(offsets):
                self._consumer.seek(partition)
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), f"reading {self._topic}") from exc

    def _bounds(self, partition: int) -> tuple[int, int]:
        where = f"reading the offsets of {self._topic}[{partition}]"
        try:
            answer = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=self._timeout_s, cached=False
            )
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), where) from exc
        if answer is None:
            raise UnavailableError(f"Kafka did not answer while {where}")
        low, high = answer
        return low, high

    def _until(self, ends: dict[int, int]) -> Iterator[Message]:
        """Yield every message up to the ends, and those that come meanwhile. Removes each end that is reached.

        The last offsets of a partition may be transaction markers. No message has these offsets; then the client's
        end-of-partition event tells that the end is reached.
        """
        deadline = time.monotonic() + self._timeout_s
        while ends:
            message = self._poll(ends)
            if message is not None:
                partition, offset = message.partition() or 0, message.offset() or 0
                if partition in ends and offset >= ends[partition] - 1:
                    del ends[partition]
                deadline = time.monotonic() + self._timeout_s
                yield message
            elif time.monotonic() > deadline:
                raise UnavailableError(f"Kafka did not answer while reading {self._topic}")

    def _poll(self, ends: dict[int, int] | None = None) -> Message | None:
        message = self._consumer.poll(_POLL_S)
        if message is None:
            return None
        self._unreachable = False
        error = message.error()
        if error is None:
            return message
        if error.code() == KafkaError._PARTITION_EOF:
            partition = message.partition()
            if ends is not None and partition is not None:
                ends.pop(partition, None)
        elif is_unreadable(message):
            self._skip(message)
        elif not error.retriable():
            raise to_connector_error(error, f"reading {self._topic}")
        return None

    def _skip(self, report: Message) -> None:
        """Pass over a batch that cannot be read, and tell of it once, however often it is read."""
        batch = skip_batch(self._consumer, self._config, report)
        if batch is not None and batch not in self._unreadable:
            self._unreadable.append(batch)
            self._on_unreadable(batch)

    def _on_error(self, error: KafkaError) -> None:
        # librdkafka reports this for every attempt.
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._unreachable:
            self._unreachable = True
            self._on_unreachable()


def _record(message: Message) -> KafkaRecord:
    return KafkaRecord(message.partition() or 0, message.offset() or 0, message.key(), message.value())
