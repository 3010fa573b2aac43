"""Follows a compacted topic with one partition as a table: the last value of each key. Joins no consumer group.

A table is read from the beginning of the topic, and is complete when its end is reached. From then on changes come as
they are written. While no broker answers, the table stays as it is, and the client connects again by itself.

Three events make the table begin again; the rows stay as they are until the new ones are complete:

- The topic was deleted and made again, or Kafka has lost its end. Then offsets come that were read before.
- A check was not answered. Meanwhile the topic may have been made again, and may have more records than before.
- No check was made for so long that Kafka may have removed the record that deletes a key (`RELOAD_S`), for example
  because the machine was suspended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import RejectedError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import is_transient, kafka_error_of, log_client_error, to_connector_error
from connectors.kafka.unreadable import is_unreadable, skip_batch

logger = logging.getLogger(__name__)

CHECK_S = 5.0
"""Seconds between two checks whether the topic still reaches as far as it was read."""

GONE_S = 20.0
"""Seconds after which a topic that Kafka does not know counts as missing. A broker that has just started may not know
its topics yet."""

RELOAD_S = 43_200.0
"""Seconds without a check after which the table begins again: half of the time for which a deletion is kept at least,
which is the topic's `delete.retention.ms`."""

_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_MOST_MESSAGES = 1_000


class TopicTable:
    """The last value of each key of a topic. For one thread."""

    def __init__(
        self,
        config: KafkaConfig,
        topic: str,
        *,
        group: str,
        max_rows: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin to read. The connection is made with the first poll.

        Args:
            config: How to reach Kafka.
            topic: A compacted topic with one partition.
            group: A group name, which librdkafka requires and does not use here.
            max_rows: The most rows that are kept in memory.
            clock: Returns the time in seconds. It goes on while the machine is suspended.

        Raises:
            RejectedError: The client does not accept the configuration.
        """
        self._config = config
        self._topic = topic
        self._max_rows = max_rows
        self._clock = clock
        self._rows: dict[bytes, bytes] = {}
        # The rows of a table that is read from the beginning, until it is complete; None once it is.
        self._loading: dict[bytes, bytes] | None = {}
        self._complete = False
        self._next_offset = 0
        self._answered_at = self._checked_at = clock()
        self._missing_since: float | None = None
        self._unanswered = False
        options = config.consumer(group, enable_partition_eof=True, auto_offset_reset="earliest")
        try:
            self._consumer = Consumer({**options, "error_cb": log_client_error})
        except KafkaException as exc:
            raise RejectedError(f"the Kafka settings cannot be used: {kafka_error_of(exc).str()}") from exc
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    @property
    def complete(self) -> bool:
        """Whether the end of the topic has been reached once, so that `rows` has all keys."""
        return self._complete

    @property
    def rows(self) -> Mapping[bytes, bytes]:
        """The last value of each key, in the order in which they were written. It changes only in `poll`."""
        return MappingProxyType(self._rows)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def poll(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds for changes, and take them. Returns whether `rows` or `complete` changed.

        Raises:
            RejectedError: Kafka rejects the call, the topic does not exist, or it has more than `max_rows` keys.
        """
        changed = False
        for message in self._consumer.consume(_MOST_MESSAGES, timeout_s):
            error = message.error()
            if error is None:
                changed |= self._take(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                changed |= self._reach_end(message.offset() or 0)
            elif is_unreadable(message):
                batch = skip_batch(self._consumer, self._config, message)
                logger.warning("%s", batch)
            elif not is_transient(error) and error.code() not in _MISSING:
                raise to_connector_error(error, f"reading {self._topic}")
        self._check()
        return changed

    def _take(self, message: Message) -> bool:
        offset, key, value = message.offset() or 0, message.key(), message.value()
        if offset < self._next_offset:
            self._begin_again()
        self._next_offset = offset + 1
        if key is None:
            return False
        rows = self._rows if self._loading is None else self._loading
        # A key that is written again comes last.
        former = rows.pop(key, None)
        if value is not None:
            rows[key] = value
        if len(rows) > self._max_rows:
            raise RejectedError(f"{self._topic} has more than {self._max_rows:,} keys; remove some of them")
        return self._loading is None and not (former is None and value is None)

    def _reach_end(self, offset: int) -> bool:
        if self._loading is None:
            return False
        changed = not self._complete or list(self._loading.items()) != list(self._rows.items())
        self._rows, self._loading, self._complete = self._loading, None, True
        self._next_offset = max(self._next_offset, offset)
        return changed

    def _begin_again(self) -> None:
        if self._loading is None:
            logger.info("%s: reading it from the beginning again", self._topic)
        self._loading = {}
        self._next_offset = 0

    def _check(self) -> None:
        now = self._clock()
        if abs(now - self._checked_at) < CHECK_S:
            return
        self._checked_at = now
        end = self._end_of_topic(now)
        if end is None:
            self._unanswered = True
            return
        away_s, self._answered_at = now - self._answered_at, now
        was_unanswered, self._unanswered = self._unanswered, False
        if was_unanswered or end < self._next_offset or away_s > RELOAD_S:
            try:
                # The client drops what it has fetched before.
                self._consumer.seek(TopicPartition(self._topic, 0, OFFSET_BEGINNING))
            except KafkaException as exc:
                # It has no leader of the partition yet. The next check tries again.
                logger.debug("%s: %s", self._topic, kafka_error_of(exc).str())
                self._unanswered = True
            else:
                self._begin_again()

    def _end_of_topic(self, now: float) -> int | None:
        """Returns the offset of the next record that the topic will get; None if Kafka does not answer.

        Raises:
            RejectedError: The topic has not existed for `GONE_S`.
        """
        try:
            answer = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, 0), timeout=self._config.timeout_s, cached=False
            )
        except KafkaException as exc:
            if kafka_error_of(exc).code() not in _MISSING or not self._is_missing():
                self._missing_since = None
                return None
            self._missing_since = now if self._missing_since is None else self._missing_since
            if now - self._missing_since >= GONE_S:
                raise RejectedError(f"topic {self._topic} does not exist; run `emostream init`") from exc
            return None
        self._missing_since = None
        return None if answer is None else answer[1]

    def _is_missing(self) -> bool:
        """Returns whether a broker says that the topic does not exist.

        The client itself says so too while it has no connection.
        """
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=self._config.timeout_s)
        except KafkaException:
            return False
        error = metadata.topics[self._topic].error
        return error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
