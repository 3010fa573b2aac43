"""Reads offsets and single records of partitions without joining a consumer group, and decides where to start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from connectors.deadline import Deadline
from connectors.errors import ConnectorError, PositionError, UnavailableError
from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, to_connector_error
from connectors.kafka.take import take
from connectors.kafka.unreadable import is_unreadable, skip_batch

_PAGE = 10_000
_PAGE_WAIT_S = 0.5


class OffsetReader:
    """Reads offsets and records. Never joins a group. Not thread-safe.

    A method that takes a deadline shares its time with other requests. Without one, it has `KafkaConfig.timeout_s`.
    Batches that cannot be read are passed over. The stage that consumes the topic records them.
    """

    def __init__(self, config: KafkaConfig, *, group: str, uncommitted: bool = False) -> None:
        """Prepare a reader. The connection is made with the first request.

        Args:
            config: How to reach Kafka.
            group: The group whose committed offsets `committed` returns.
            uncommitted: Whether to read the records of open and aborted transactions too. Otherwise a partition ends at
                the first open transaction.
        """
        self._config = config
        self._timeout_s = config.timeout_s
        isolation = "read_uncommitted" if uncommitted else "read_committed"
        self._consumer = Consumer(config.bounded_reader(group, auto_offset_reset="error", isolation_level=isolation))

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Returns the first offset that a partition still holds, and the next one that it will write.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        return self.all_bounds(topic, [partition])[partition]

    def all_bounds(
        self, topic: str, partitions: Sequence[int], deadline: Deadline | None = None
    ) -> dict[int, tuple[int, int]]:
        """Returns the bounds of several partitions (see `bounds`), with one request for all of a broker.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        if not partitions:
            return {}  # the client refuses an empty request
        deadline = deadline or Deadline(self._timeout_s)
        # The ends are read last: in the other order, a partition could be below its own beginning.
        lows = self._offsets_at(topic, dict.fromkeys(partitions, OFFSET_BEGINNING), deadline)
        highs = self._offsets_at(topic, dict.fromkeys(partitions, OFFSET_END), deadline)
        return {partition: (lows[partition], highs[partition]) for partition in partitions}

    def _offsets_at(self, topic: str, times: Mapping[int, int], deadline: Deadline) -> dict[int, int]:
        """Returns the first offset at a time or later for each partition; OFFSET_END if there is none.

        `times` has, by partition, milliseconds since 1970, OFFSET_BEGINNING or OFFSET_END: Kafka's request for the
        offset at a time takes these two in place of a time.
        """
        wanted = [TopicPartition(topic, partition, at) for partition, at in times.items()]
        doing = f"reading the offsets of {topic}"
        try:
            answers = self._consumer.offsets_for_times(wanted, timeout=deadline.left_s)
        except KafkaException as exc:
            raise _lookup_error(kafka_error_of(exc), doing) from exc
        for answer in answers:
            if answer.error is not None:
                raise _lookup_error(answer.error, doing)
        return {answer.partition: answer.offset for answer in answers}

    def committed(self, topic: str, partitions: Sequence[int], deadline: Deadline | None = None) -> dict[int, int]:
        """Returns the group's committed offsets. A partition without one is left out.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        deadline = deadline or Deadline(self._timeout_s)
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        try:
            answers = self._consumer.committed(wanted, timeout=deadline.left_s)
        except KafkaException as exc:
            raise _lookup_error(kafka_error_of(exc), f"reading committed offsets of {topic}") from exc
        for answer in answers:
            if answer.error is not None:
                raise _lookup_error(answer.error, f"reading committed offsets of {topic}")
        return {answer.partition: answer.offset for answer in answers if answer.offset > OFFSET_INVALID}

    def first_message(self, topic: str, partition: int, deadline: Deadline | None = None) -> Message | None:
        """Returns the first record that a partition still holds; None if it holds none.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        deadline = deadline or Deadline(self._timeout_s)
        low, high = self.all_bounds(topic, [partition], deadline)[partition]
        return self._read_to(topic, {partition: low}, {partition: low}, deadline).get(partition) if high > low else None

    def message_at(self, topic: str, partition: int, offset: int) -> Message | None:
        """Returns the first record at or after an offset; None if there is none.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        return self._read_to(topic, {partition: offset}, {partition: offset}, Deadline(self._timeout_s)).get(partition)

    def last_messages(
        self, topic: str, partitions: Sequence[int], deadline: Deadline | None = None
    ) -> dict[int, Message]:
        """Returns the last record of each partition, reading all partitions at once. One without records is left out.

        Transaction markers and compacted records take offsets too, so the last record may be far before the end. The
        range that is read doubles until it contains a record.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        deadline = deadline or Deadline(self._timeout_s)
        found: dict[int, Message] = {}
        bounds = self.all_bounds(topic, partitions, deadline)
        left = {partition for partition, (low, high) in bounds.items() if low < high}
        back = 1
        while left:
            starts = {partition: max(bounds[partition][0], bounds[partition][1] - back) for partition in left}
            found |= self._read_to(topic, starts, {p: bounds[p][1] - 1 for p in left}, deadline)
            left = {partition for partition in left - found.keys() if starts[partition] > bounds[partition][0]}
            back *= 2
        return found

    def _read_to(
        self, topic: str, starts: Mapping[int, int], wanted: Mapping[int, int], deadline: Deadline
    ) -> dict[int, Message]:
        """Reads each partition from its start to the first record at or after the wanted offset, or to its end.

        Returns:
            The last record that was read of each partition.
        """
        last: dict[int, Message] = {}
        left = set(starts)
        self._consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
        try:
            while left:
                message = self._consumer.poll(deadline.left_s)
                if message is None:
                    if not deadline.left_s:
                        numbers = ", ".join(map(str, sorted(left)))
                        raise UnavailableError(f"Kafka did not answer while reading {topic}[{numbers}]")
                    continue
                error = message.error()
                if error is None:
                    partition = partition_of(message)
                    if partition in left:
                        last[partition] = message
                        if offset_of(message) >= wanted[partition]:
                            left.discard(partition)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition_of(message))
                elif is_unreadable(message):
                    skip_batch(self._consumer, self._config, message)
                elif not is_transient(error):
                    raise _lookup_error(error, f"reading {topic}[{message.partition()}]")
        finally:
            self._consumer.unassign()
        return last

    def offset_at(self, topic: str, partition: int, appended_ms: int) -> int | None:
        """Returns the offset of the first record with this timestamp (milliseconds) or a later one; None if none has.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        offset = self._offsets_at(topic, {partition: appended_ms}, Deadline(self._timeout_s))[partition]
        return offset if offset >= 0 else None

    def all_offsets_at(
        self, topic: str, partitions: Sequence[int], appended_ms: int, deadline: Deadline | None = None
    ) -> dict[int, int | None]:
        """Returns the same for several partitions, with one request for all of a broker.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        deadline = deadline or Deadline(self._timeout_s)
        found = self._offsets_at(topic, dict.fromkeys(partitions, appended_ms), deadline)
        return {partition: offset if offset >= 0 else None for partition, offset in found.items()}

    def between(
        self,
        topic: str,
        partition: int,
        start: int,
        end: int,
        *,
        on_unreadable: Callable[[UnreadableBatch], None] = lambda batch: None,
    ) -> Iterator[Message]:
        """Yield the records with offsets from `start` to below `end`, or to the end of the partition.

        `on_unreadable` is called for each batch in this range that cannot be read, before the next record is yielded.
        The batch may end above `end`.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        left = end - start
        deadline = time.monotonic() + self._timeout_s
        self._consumer.assign([TopicPartition(topic, partition, start)])
        try:
            while left > 0:
                messages = take(self._consumer, min(left, _PAGE), _PAGE_WAIT_S)
                if not messages and time.monotonic() > deadline:
                    raise UnavailableError(f"Kafka did not answer while reading {topic}[{partition}]")
                for message in messages:
                    error = message.error()
                    if error is None:
                        offset = offset_of(message)
                        if offset >= end:
                            return
                        if offset < end - left:
                            continue  # it was yielded before; see `skip_batch`
                        yield message
                        left = end - offset - 1
                        deadline = time.monotonic() + self._timeout_s
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif is_unreadable(message):
                        skipped = skip_batch(self._consumer, self._config, message, end - left)
                        if skipped is not None:
                            if skipped.first >= end:
                                return
                            on_unreadable(skipped)
                            left = end - skipped.end
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
            "the topic was deleted and made again, or the output belongs to another cluster; see "
            '"Topics were deleted" in docs/how-to/recover.md'
        )
    return max(proven, low)


def _lookup_error(error: KafkaError, doing: str) -> ConnectorError:
    # The topics existed when the process started. A broker that has just started may not know them yet.
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return UnavailableError(f"Kafka did not answer while {doing}: {error.str()}")
    return to_connector_error(error, doing)
