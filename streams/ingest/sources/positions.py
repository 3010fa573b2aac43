"""Stores the position of an instance of a source, and its gaps.

A position proves itself, whoever wrote it: every post from before its cursor is in the raw topic, below its offsets. So
a reader takes the last record that it finds, also one whose transaction a crash left open. But a gap and the position
behind it are stored together or not at all, so a position behind a new gap counts only if its transaction was
committed. The transactional producer also fences a former owner.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from confluent_kafka import Message

from connectors.errors import UnavailableError
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import Outgoing
from connectors.kafka.scan import Bounds, TopicScan
from connectors.kafka.transactional import TransactionalProducer
from streams.errors import InputError
from streams.records import GapRecord, RecordError, SourcePosition
from streams.settings import Settings

logger = logging.getLogger(__name__)


class UnreadablePositionError(InputError):
    """The position of an instance cannot be read. Nobody knows then where the source was."""


def transactional_id(settings: Settings, instance: str) -> str:
    """Returns the transactional id under which the position of an instance is stored."""
    return f"{settings.group_prefix}-source-{instance}"


class PositionStore:
    """The stored position of one instance. Blocking; for one thread at a time."""

    def __init__(
        self, config: KafkaConfig, *, topic: str, gaps_topic: str, instance: str, transactional_id: str, group: str
    ) -> None:
        """Take the position over: a former owner can no longer store it.

        Raises:
            ConnectorError: Kafka did not answer, or rejected the call.
        """
        self._config = config
        self._topic = topic
        self._gaps_topic = gaps_topic
        self._instance = instance
        self._group = group
        self._producer = TransactionalProducer(config, transactional_id)

    def load(self) -> SourcePosition | None:
        """Returns the stored position; None if there is none.

        A position that a crash left in an open transaction counts, unless gaps were to be stored with it: they are not
        there, so the source must find them again.

        Raises:
            UnreadablePositionError: The position cannot be read.
            UnavailableError: Kafka did not answer; or it is not known yet whether the last position was stored, because
                a transaction of another instance is open.
            RejectedError: The topic does not exist, or Kafka rejected the call.
        """
        # Another instance's open transaction would hide ours behind it.
        last, _ = self._last(committed=False)
        position = self._read(last)
        if last is None or position is None or position.gaps == 0:
            return position
        stored, bounds = self._last(committed=True)
        gaps = 0 if (found := self._read(stored)) is None else found.gaps
        if gaps >= position.gaps:
            return position
        if bounds[partition_of(last)][1] <= offset_of(last):
            raise UnavailableError(f"a transaction before the position of {self._instance} in {self._topic} is open")
        logger.warning("%s: the process ended while it stored a gap; it continues before the gap", self._instance)
        former, _ = self._last(committed=False, most_gaps=gaps)
        return self._read(former)

    def _last(self, *, committed: bool, most_gaps: int | None = None) -> tuple[Message | None, Bounds]:
        """Returns the last record of the instance that a scan finds, and the bounds of the scan.

        Args:
            committed: whether to leave out the records of transactions that are open or were aborted.
            most_gaps: leave out positions behind more gaps than these; None for no limit.
        """
        scan = TopicScan(self._config, self._topic, group=self._group, committed=committed)
        key, last = self._instance.encode(), None
        try:
            for message in scan.messages():
                if message.key() != key:
                    continue
                if most_gaps is None or (position := self._read(message)) is None or position.gaps <= most_gaps:
                    last = message
        finally:
            scan.close()
        return last, scan.bounds

    def _read(self, message: Message | None) -> SourcePosition | None:
        """Returns the position in a record; None if there is none."""
        value = None if message is None else message.value()
        if value is None:
            return None
        try:
            return SourcePosition.from_json(value)
        except RecordError as exc:
            raise UnreadablePositionError(
                f"the position of {self._instance} in {self._topic} cannot be read: {exc}; `emostream ingest "
                "--from-now` begins with new posts instead, and records a gap"
            ) from exc

    def save(self, position: SourcePosition, gaps: Sequence[GapRecord] = ()) -> None:
        """Store a position, and the gaps before it. All of it or nothing is stored.

        Raises:
            FencedError: Another process has taken the position over.
            ConnectorError: Kafka did not answer, or rejected the call. Drop this store.
        """
        key = self._instance.encode()
        records = [Outgoing(self._gaps_topic, gap.to_json(), key) for gap in gaps]
        self._producer.publish([*records, Outgoing(self._topic, position.to_json(), key)])

    def remove(self) -> None:
        """Remove the position. The gaps stay in their topic.

        Raises:
            FencedError: Another process has taken the position over.
            ConnectorError: Kafka did not answer, or rejected the call. Drop this store.
        """
        self._producer.publish([Outgoing(self._topic, None, self._instance.encode())])

    def close(self) -> None:
        """Close the connection."""
        self._producer.close()
