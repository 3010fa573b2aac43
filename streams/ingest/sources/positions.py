"""Stores the position of an instance of a source, and its gaps.

A transactional producer writes the records, because it fences a former owner, and because a gap and the position behind
it are stored together or not at all.

A reader takes the last position that it finds, also one of a transaction that is open or was aborted: every post from
before its cursor is in the raw topic, below its offsets. The exception is a position with a gap that no committed
position has. Its gap may not be stored, so the reader takes the committed position, and the source finds the gap again.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import Outgoing
from connectors.kafka.scan import TopicScan
from connectors.kafka.transactional import TransactionalProducer
from streams.errors import InputError
from streams.records import GapRecord, RecordError, SourcePosition


class UnreadablePositionError(InputError):
    """The position of an instance cannot be read. Nobody knows then where the source was."""


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

        While another instance's transaction is open, the committed positions behind it cannot be seen. A gap that is
        stored there is then found again, and recorded a second time under the same number.

        Raises:
            UnreadablePositionError: The position cannot be read.
            ConnectorError: The topic does not exist, or Kafka did not answer.
        """
        found = self._last(committed=False)
        if found is None or not found.gaps:
            return found
        committed = self._last(committed=True)
        return committed if committed is not None and committed.gaps < found.gaps else found

    def _last(self, *, committed: bool) -> SourcePosition | None:
        """Returns the last position, of those in transactions that were committed or of all."""
        scan = TopicScan(self._config, self._topic, group=self._group, committed=committed)
        key, value = self._instance.encode(), None
        try:
            for message in scan.messages():
                if message.key() == key:
                    value = message.value()
        finally:
            scan.close()
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

    def close(self) -> None:
        """Close the connection."""
        self._producer.close()
