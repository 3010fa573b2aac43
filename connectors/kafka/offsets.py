"""Reads offsets and last records of partitions, outside any consumer group's assignment; where to start reading."""

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
    """Watermark offsets, committed offsets and last records. Not thread-safe; never joins a group."""

    def __init__(self, config: KafkaConfig, *, group: str) -> None:
        """`group` names the group whose committed offsets `committed` returns."""
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
        """The first offset a partition still holds, and the next one it will write.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
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
        """The group's committed offsets; a partition without one is left out.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
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
        """The first record that a partition still holds; None if it holds none.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
        """
        low, high = self.bounds(topic, partition)
        return self.message_at(topic, partition, low) if high > low else None

    def message_at(self, topic: str, partition: int, offset: int) -> Message | None:
        """The first record at or after an offset that the partition holds; None if there is none.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
        """
        return self._read_to(topic, partition, offset, offset)

    def last_message(self, topic: str, partition: int) -> Message | None:
        """The last record of a partition; None if it holds none.

        Transaction markers and compacted records take offsets too, so the record before the end may be far back:
        the look-back doubles until it finds one.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
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
        """The first record at or after `wanted`, read from `start`; the last there is if none is."""
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
        """The offset of the first record with that timestamp (milliseconds) or a later one; None if there is none.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
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
        """The records with offsets from `start` to below `end`, or to the end of the partition.

        Raises:
            ConnectorError: if Kafka does not answer, or refuses.
        """
        left = end - start
        deadline = time.monotonic() + self._timeout_s
        self._consumer.assign([TopicPartition(topic, partition, start)])
        try:
            while left > 0:
                # It waits until it has them all, so no more are asked for than there can be.
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
    """Where to start consuming a partition. Pure.

    Args:
        topic: the topic, for messages.
        partition: the partition, for messages.
        proven: the offset after the last one that the output holds; None where the output is empty.
        bounds: the first offset the partition still holds, and the next it will write.
        hint: the committed offset, used where the output is empty; None for none.

    Raises:
        PositionError: the output is ahead of its input.
    """
    low, high = bounds
    if proven is None:
        # A hint beyond the end belongs to an earlier topic of this name.
        return max(hint, low) if hint is not None and hint <= high else low
    if proven > high:
        raise PositionError(
            f"{topic}[{partition}] ends at offset {high}, but its output was made from offsets up to {proven}: "
            "the topic was deleted and made again, or the output belongs to another cluster"
        )
    return max(proven, low)


def _lookup_error(error: KafkaError, doing: str) -> ConnectorError:
    # The topics were there when the process started; a broker that has just started may not know them yet.
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return UnavailableError(f"Kafka did not answer while {doing}: {error.str()}")
    return to_connector_error(error, doing)
