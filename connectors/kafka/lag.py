"""Commits where a consumer stands. Only lag monitoring reads the committed offsets: positions come from the output."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka.errors import kafka_error_of

logger = logging.getLogger(__name__)

COMMIT_INTERVAL_S = 1.0
"""Seconds between two commits."""


class LagCommits:
    """The ends of finished batches that are not committed yet. Thread-safe."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._lock = threading.Lock()
        self._done: dict[int, int] = {}
        self._due = 0.0

    def add(self, ends: Mapping[int, int]) -> None:
        """Take the end of a finished batch in each of its partitions, for the next commit."""
        with self._lock:
            self._done.update(ends)

    def clear(self) -> None:
        """Forget what is not committed yet."""
        with self._lock:
            self._done.clear()

    def commit_if_due(self) -> None:
        """Commit, unless the last commit was less than `COMMIT_INTERVAL_S` ago."""
        if time.monotonic() >= self._due:
            self.commit()

    def commit(self) -> None:
        """Commit, without waiting for the answer: a commit that is lost only shows as lag."""
        self._due = time.monotonic() + COMMIT_INTERVAL_S
        with self._lock:
            done, self._done = self._done, {}
        if not done:
            return
        offsets = [TopicPartition(self._topic, partition, offset) for partition, offset in done.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:
            logger.info("lag commit for %s failed: %s", self._topic, kafka_error_of(exc).str())
