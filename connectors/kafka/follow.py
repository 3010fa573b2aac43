"""Reads a topic from given offsets on and follows it, also into partitions that are added. Joins no consumer group.

The caller keeps the position. What Kafka has deleted before it was read is told, and never passed over silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import PositionError, RejectedError, UnavailableError
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, log_client_error, to_connector_error
from connectors.kafka.unreadable import is_unreadable, skip_batch

_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_DELETED = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


@dataclass(frozen=True, slots=True)
class LostRange:
    """Records that Kafka deleted before they were read.

    Attributes:
        partition: their partition.
        first: the offset of the first one.
        end: the offset after the last one. Some offsets may be those of transaction markers.
        is_all: whether the partition holds no later record now.
    """

    partition: int
    first: int
    end: int
    is_all: bool


Followed: TypeAlias = Message | UnreadableBatch


class TopicFollower:
    """A reader of one topic, without the records of transactions that were aborted. Blocking; for one thread.

    Call `begin` once, then `take` and `check` again and again.
    """

    def __init__(self, config: KafkaConfig, topic: str, *, group: str) -> None:
        """Prepare a reader. The connection is made with the first request.

        Args:
            config: how to reach Kafka.
            topic: the topic.
            group: a group name, which librdkafka requires and does not use here.

        Raises:
            RejectedError: The client does not accept the configuration.
        """
        self._config = config
        self._topic = topic
        self._next: dict[int, int] = {}
        self._admin = KafkaAdmin(config)
        # With `error`, a position whose record was deleted is an error, and no record is passed over.
        options = config.consumer(group, auto_offset_reset="error", isolation_level="read_committed")
        try:
            self._consumer = Consumer({**options, "error_cb": log_client_error})
        except KafkaException as exc:
            raise RejectedError(f"the Kafka settings cannot be used: {kafka_error_of(exc).str()}") from exc

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset of the next record, for each partition."""
        return self._next

    def topic_id(self) -> str | None:
        """Returns the id that Kafka gave the topic; None if it does not exist, or if nobody may know its id.

        Raises:
            UnavailableError: Kafka did not answer.
        """
        try:
            return self._admin.topic_ids([self._topic]).get(self._topic)
        except RejectedError:
            return None

    def begin(self, positions: Mapping[int, int] | None, *, at_end: bool = False) -> list[LostRange]:
        """Begin to read.

        Args:
            positions: the offset of the next record, for each partition. A partition that is not among them is new,
                and is read from its first record. None to begin with the topic.
            at_end: without positions, whether to begin with new records, or with those that Kafka holds.

        Returns:
            The records before the positions that Kafka deleted.

        Raises:
            PositionError: A position is above the end of its partition.
            RejectedError: The topic does not exist, and there are no positions; or Kafka rejects the call.
            UnavailableError: Kafka did not answer, or does not know the topic for now.
        """
        bounds = {partition: self._bounds(partition) for partition in self._partitions(was_read=positions is not None)}
        if positions is None:
            starts = {partition: high if at_end else low for partition, (low, high) in bounds.items()}
        else:
            starts = {partition: positions.get(partition, 0) for partition in bounds}
            if gone := sorted(set(positions) - set(bounds)):
                raise PositionError(f"{self._topic} has no partition {gone[0]} any more: it was deleted and made again")
        return self._assign(starts, bounds)

    def check(self) -> list[LostRange]:
        """Ask Kafka for new partitions, and begin to read them. Proves that Kafka answers.

        Returns:
            The records of new partitions that Kafka deleted already.

        Raises:
            RejectedError: Kafka rejects the call.
            UnavailableError: Kafka did not answer, or does not know the topic for now.
        """
        new = [partition for partition in self._partitions(was_read=True) if partition not in self._next]
        return self._assign(dict.fromkeys(new, 0), {partition: self._bounds(partition) for partition in new})

    def take(self, most: int, timeout_s: float) -> Iterator[Followed]:
        """Yield the records that have come, and the batches that cannot be read, in order within each partition.

        Args:
            most: the most records.
            timeout_s: seconds to wait until there are so many.

        Raises:
            UnavailableError: The record at a position was deleted, and `begin` of another reader tells how many; or
                the topic is not known for now.
            RejectedError: Kafka rejects the call.
        """
        for message in self._consumer.consume(most, timeout_s):
            error = message.error()
            if error is not None:
                if is_unreadable(message):
                    yield from self._skipped(message)
                else:
                    self._raise(error)
                continue
            partition, offset = partition_of(message), offset_of(message)
            if offset < self._next[partition]:
                continue  # it was returned before; see `skip_batch`
            self._next[partition] = offset + 1
            yield message

    def _raise(self, error: KafkaError) -> None:
        if error.code() in _DELETED:
            raise UnavailableError(f"{self._topic} no longer holds the next record: {error.str()}")
        if error.code() in _MISSING:
            raise UnavailableError(f"Kafka does not know {self._topic} for now: {error.str()}")
        if not is_transient(error):
            raise to_connector_error(error, f"reading {self._topic}")

    def _skipped(self, report: Message) -> Iterator[UnreadableBatch]:
        partition = partition_of(report)
        batch = skip_batch(self._consumer, self._config, report, self._next[partition])
        if batch is not None:
            self._next[partition] = batch.end
            yield batch

    def _assign(self, starts: Mapping[int, int], bounds: Mapping[int, tuple[int, int]]) -> list[LostRange]:
        lost = []
        for partition, start in starts.items():
            low, high = bounds[partition]
            if start > high:
                raise PositionError(
                    f"{self._topic}[{partition}] ends at offset {high}, but was read up to {start}: it was deleted and "
                    "made again, or has lost its last records"
                )
            if start < low:
                lost.append(LostRange(partition, start, low, low == high))
            self._next[partition] = max(start, low)
        if starts:
            assigned = [TopicPartition(self._topic, partition, self._next[partition]) for partition in starts]
            self._consumer.incremental_assign(assigned)
        return lost

    def _partitions(self, *, was_read: bool) -> Sequence[int]:
        doing = f"reading the partitions of {self._topic}"
        try:
            found = self._consumer.list_topics(self._topic, timeout=self._config.timeout_s).topics[self._topic]
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), doing) from exc
        if found.error is not None:
            if found.error.code() in _MISSING:
                # A broker that has just started may not know its topics yet.
                kind = UnavailableError if was_read else RejectedError
                raise kind(f"the topic {self._topic} does not exist")
            raise to_connector_error(found.error, doing)
        return sorted(found.partitions)

    def _bounds(self, partition: int) -> tuple[int, int]:
        doing = f"reading the offsets of {self._topic}[{partition}]"
        at = TopicPartition(self._topic, partition)
        try:
            answer = self._consumer.get_watermark_offsets(at, timeout=self._config.timeout_s, cached=False)
        except KafkaException as exc:
            raise to_connector_error(kafka_error_of(exc), doing) from exc
        if answer is None:
            raise UnavailableError(f"Kafka did not answer while {doing}")
        low, high = answer
        return low, high
