"""Reads offsets and single records of partitions without joining a consumer group, and decides where to start."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import ConnectorError, PositionError, UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, to_connector_error

_PAGE = 10_000
_PAGE_WAIT_S = 0.5


class OffsetReader:
    """Reads offsets and records. Never joins a group. Not thread-safe."""

    def __init__(self, config: KafkaConfig, *, group: str) -> None:
        """Prepare a reader. The connection is made with the first request.

        Args:
            config: How to reach Kafka.
            group: The group whose committed offsets `committed` returns.
        """
        self._timeout_s = config.timeout_s
        self._consumer = Consumer(
            config.librdkafka(
                group_id=group,
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="error",
                allow_auto_create_topics=False,
            )
        )

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Returns the first offset that a partition still holds, and the next one that it will write.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        try:
            answer = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=self._timeout_s, cached=False
            )
        except KafkaException as exc:
            raise _lookup_error(kafka_error_of(exc), f"reading the offsets of {topic}[{partition}]") from exc
        if answer is None:
            raise UnavailableError(f"Kafka did not answer while reading the offsets of {topic}[{partition}]")
        low, high = answer
        return low, high

    def committed(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Returns the group's committed offsets. A partition without one is left out.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        try:
            answers = self._consumer.committed(wanted, timeout=self._timeout_s)
        except KafkaException as exc:
            raise _lookup_error(kafka_error_of(exc), f"reading committed offsets of {topic}") from exc
        for answer in answers:
            if answer.error is not None:
                raise _lookup_error(answer.error, f"reading committed offsets of {topic}")
        return {answer.partition: answer.offset for answer in answers if answer.offset > OFFSET_INVALID}

    def first_message(self, topic: str, partition: int) -> Message | None:
        """Returns the first record that a partition still holds; None if it holds none.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        low, high = self.bounds(topic, partition)
        return self.message_at(topic, partition, low) if high > low else None

    def message_at(self, topic: str, partition: int, offset: int) -> Message | None:
        """Returns the first record at or after an offset; None if there is none.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        return self._read_to(topic, partition, offset, offset)

    def last_message(self, topic: str, partition: int) -> Message | None:
        """Returns the last record of a partition; None if it holds none.

        Transaction markers and compacted records take offsets too, so the last record may be far before the end. The
        range that is read doubles until it contains a record.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        low, high = self.bounds(topic, partition)
        back = 1
        while high > low:
            start = max(low, high - back)
            found = self._read_to(topic, partition, start, high - 1)
            if found is not None or start == low:
                return found
            back *= 2
        return None

    def _read_to(self, topic: str, partition: int, start: int, wanted: int) -> Message | None:
        """Returns the first record at or after `wanted`, reading from `start`; if there is none, the last one read."""
        deadline = time.monotonic() + self._timeout_s
        last: Message | None = None
        self._consumer.assign([TopicPartition(topic, partition, start)])
        try:
            while (remaining := deadline - time.monotonic()) > 0:
                message = self._consumer.poll(remaining)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    last = message
                    if (message.offset() or 0) >= wanted:
                        return last
                elif error.code() == KafkaError._PARTITION_EOF:
                    return last
                elif not is_transient(error):
                    raise _lookup_error(error, f"reading {topic}[{partition}]")
        finally:
            self._consumer.unassign()
        raise UnavailableError(f"Kafka did not answer while reading {topic}[{partition}]")

    def offset_at(self, topic: str, partition: int, appended_ms: int) -> int | None:
        """Returns the offset of the first record with this timestamp (milliseconds) or a later one; None if none has.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        try:
            (answer,) = self._consumer.offsets_for_times(
                [TopicPartition(topic, partition, appended_ms)], timeout=self._timeout_s
            )
        except KafkaException as exc:
            raise _lookup_error(kafka_error_of(exc), f"looking for a time in {topic}[{partition}]") from exc
        if answer.error is not None:
            raise _lookup_error(answer.error, f"looking for a time in {topic}[{partition}]")
        return answer.offset if answer.offset >= 0 else None

    def between(self, topic: str, partition: int, start: int, end: int) -> Iterator[Message]:
        """Yield the records with offsets from `start` to below `end`, or to the end of the partition.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        left = end - start
        deadline = time.monotonic() + self._timeout_s
        self._consumer.assign([TopicPartition(topic, partition, start)])
        try:
            while left > 0:
                # `consume` waits until it has all records that it is asked for, so ask for no more than there can be.
                messages = self._consumer.consume(min(left, _PAGE), _PAGE_WAIT_S)
                if not messages and time.monotonic() > deadline:
                    raise UnavailableError(f"Kafka did not answer while reading {topic}[{partition}]")
                for message in messages:
                    error = message.error()
                    if error is None:
                        offset = message.offset() or 0
                        if offset >= end:
                            return
                        yield message
                        left = end - offset - 1
                        deadline = time.monotonic() + self._timeout_s
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif not is_transient(error):
                        raise _lookup_error(error, f"reading {topic}[{partition}]")
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def start_offset(topic: str, partition: int, proven: int | None, bounds: tuple[int, int], hint: int | None) -> int:
    """Returns the offset at which to start consuming a partition. Pure.

    Args:
        topic: The topic, for messages.
        partition: The partition, for messages.
        proven: The offset after the last one that the output holds; None if the output is empty.
        bounds: The first offset that the partition still holds, and the next one that it will write.
        hint: The committed offset, used if the output is empty; None if there is none.

    Raises:
        PositionError: The output is ahead of its input.
    """
    low, high = bounds
    if proven is None:
        # A hint above the end is from an earlier topic of the same name.
        return max(hint, low) if hint is not None and hint <= high else low
    if proven > high:
        raise PositionError(
            f"{topic}[{partition}] ends at offset {high}, but its output was made from offsets up to {proven}: "
            "the topic was deleted and made again, or the output belongs to another cluster"
        )
    return max(proven, low)


def _lookup_error(error: KafkaError, doing: str) -> ConnectorError:
    # The topics existed when the process started. A broker that has just started may not know them yet.
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return UnavailableError(f"Kafka did not answer while {doing}: {error.str()}")
    return to_connector_error(error, doing)
