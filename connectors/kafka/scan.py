"""Reads a topic once to its current end, from its beginning or from given offsets, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import PositionError, RejectedError, UnavailableError
from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, to_connector_error
from connectors.kafka.take import take
from connectors.kafka.unreadable import is_unreadable, skip_batch

RETRY_S = 0.1
"""Seconds between two attempts to read the bounds of a partition that has no leader yet."""

_PAGE = 1_000
_WAIT_S = 0.5

Bounds = Mapping[int, tuple[int, int]]
"""For each partition, the first offset that it holds and the next one that it will write."""


class TopicScan:
    """One pass over a topic. `bounds` is read at the start; records written later are not part of the pass.

    Attributes:
        unreadable: The batches that `messages` has passed over, because they cannot be read.
    """

    def __init__(
        self,
        config: KafkaConfig,
        topic: str,
        *,
        group: str,
        starts: Mapping[int, int] | None = None,
        committed: bool = True,
    ) -> None:
        """Read the topic's partitions and their bounds.

        Args:
            config: How to reach Kafka.
            topic: The topic.
            group: The client requires a group; nothing is committed to it.
            starts: The offset at which the pass begins in each partition. A partition without one begins with the first
                offset that Kafka holds, and so does a partition whose records at that offset Kafka has deleted.
            committed: Whether to leave out the records of transactions that are open or were aborted. The pass then
                ends at the first open transaction.

        Raises:
            PositionError: A start is above the end of its partition.
            ConnectorError: The topic does not exist, or Kafka did not answer.
        """
        self.topic = topic
        self._starts = starts or {}
        self.unreadable: list[UnreadableBatch] = []
        self._config = config
        self._timeout_s = config.timeout_s
        isolation = "read_committed" if committed else "read_uncommitted"
        self._consumer = Consumer(config.bounded_reader(group, auto_offset_reset="earliest", isolation_level=isolation))
        try:
            metadata = self._consumer.list_topics(topic, timeout=config.timeout_s).topics[topic]
            if metadata.error is not None:
                raise RejectedError(f"topic {topic} does not exist; run `emostream init`")
            self.bounds: Bounds = {partition: self._bounds(partition) for partition in metadata.partitions}
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), f"reading {topic}") from exc
        for partition, (_, high) in self.bounds.items():
            if self._start(partition) > high:
                self.close()
                raise PositionError(
                    f"{topic}[{partition}] ends at offset {high}, but was read up to {self._start(partition)}: the "
                    "topic was deleted and made again"
                )

    def _start(self, partition: int) -> int:
        return max(self.bounds[partition][0], self._starts.get(partition, 0))

    def _bounds(self, partition: int) -> tuple[int, int]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                answer = self._consumer.get_watermark_offsets(
                    TopicPartition(self.topic, partition), timeout=self._timeout_s, cached=False
                )
            except KafkaException as exc:
                # A partition has no leader for a moment after it was created, or after its broker has stopped.
                if not is_transient(kafka_error_of(exc)) or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_S)
            else:
                break
        if answer is None:
            raise UnavailableError(f"Kafka did not answer while reading {self.topic}[{partition}]")
        low, high = answer
        return low, high

    def total(self) -> int:
        """Returns the number of offsets in the pass. Some belong to transaction markers or to compacted records."""
        return sum(high - self._start(partition) for partition, (_, high) in self.bounds.items())

    def messages(self) -> Iterator[Message]:
        """Yield every record within the bounds, in offset order within each partition.

        Batches that cannot be read are added to `unreadable`.

        Raises:
            ConnectorError: Kafka did not answer for `timeout_s`, or rejected the call.
        """
        next_offsets = {partition: self._start(partition) for partition in self.bounds}
        waiting = {partition for partition, (_, high) in self.bounds.items() if high > next_offsets[partition]}
        self._consumer.assign([TopicPartition(self.topic, p, next_offsets[p]) for p in sorted(waiting)])
        heard = time.monotonic()
        while waiting:
            for message in take(self._consumer, _PAGE, _WAIT_S):
                heard = time.monotonic()
                partition = partition_of(message)
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        waiting.discard(partition)
                    elif is_unreadable(message):
                        self._skip(message)
                    elif not is_transient(error):
                        raise to_connector_error(error, f"reading {self.topic}")
                    continue
                offset, high = offset_of(message), self.bounds[partition][1]
                if offset >= high - 1:
                    waiting.discard(partition)
                # A record below comes a second time; see `skip_batch`.
                if next_offsets[partition] <= offset < high:
                    next_offsets[partition] = offset + 1
                    yield message
            if waiting and time.monotonic() - heard > self._timeout_s:
                raise UnavailableError(f"Kafka did not answer while reading {self.topic}")

    def _skip(self, report: Message) -> None:
        """Pass over an unreadable batch. It may be reported twice, and is added to `unreadable` once."""
        partition = partition_of(report)
        low, high = self.bounds[partition]
        passed = max([low, *(batch.end for batch in self.unreadable if batch.partition == partition)])
        batch = skip_batch(self._consumer, self._config, report, passed)
        if batch is not None and batch.first < high:
            self.unreadable.append(batch)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
