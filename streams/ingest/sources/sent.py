"""The ids of the posts that a source has in the raw topic already."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from connectors.errors import PositionError
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.scan import TopicScan

logger = logging.getLogger(__name__)

MOST_IDS = 400_000
"""Ids that are remembered at least: those of a minute at 6,600 posts/s. Twice as many take up to 80 MB."""


class SentIds:
    """Remembers the last `most` ids at least, and twice as many at most. An id that is added again counts as new."""

    def __init__(self, most: int = MOST_IDS) -> None:
        self._most = most
        # Hashes take less memory than ids. Two of a million ids have the same one with a probability below 1e-7.
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._uncounted: set[int] = set()

    def add(self, id_: bytes) -> bool:
        """Add an id. Returns whether it was known."""
        number = hash(id_)
        known = number in self._recent or number in self._older
        self._recent.add(number)
        if len(self._recent) >= self._most:
            self._older, self._recent = self._recent, set()
        return known

    def add_uncounted(self, id_: bytes) -> None:
        """Add the id of a post that is in no stored total, because the process ended before it could store that."""
        self.add(id_)
        self._uncounted.add(hash(id_))

    def count(self, id_: bytes) -> bool:
        """Returns whether the id was added as uncounted. It is counted then."""
        number = hash(id_)
        if number not in self._uncounted:
            return False
        self._uncounted.remove(number)
        return True


def read_sent(
    config: KafkaConfig,
    topic: str,
    source: str,
    starts: Mapping[int, int],
    *,
    counted: Mapping[int, int] | None = None,
    group: str,
) -> SentIds:
    """Returns the ids of a source's posts in the raw topic, from the given offsets to its present end. Blocking.

    Args:
        config: how to reach Kafka.
        topic: the raw topic.
        source: the kind of source.
        starts: the offsets.
        counted: the offsets before which every post is in the stored total; None if all are.
        group: the client requires a group.

    Raises:
        ConnectorError: The topic does not exist, or Kafka did not answer.
    """
    sent = SentIds()
    prefix = f"{source}:".encode()
    try:
        # Sources write without transactions. Another producer's open one must not hide their posts.
        scan = TopicScan(config, topic, group=group, starts=starts, committed=False)
    except PositionError as exc:
        # The topic is a new one, so it is read from its beginning, and what the old one held is not sent again.
        logger.warning("%s", exc)
        scan, counted = TopicScan(config, topic, group=group, committed=False), None
    try:
        if (offsets := scan.total()) > 1_000_000:
            logger.info("reading %d offsets of %s, to know which posts of %s it holds", offsets, topic, source)
        for message in scan.messages():
            key = message.key()
            if key is None or not key.startswith(prefix):
                continue
            if counted is not None and offset_of(message) >= counted.get(partition_of(message), 0):
                sent.add_uncounted(key)
            else:
                sent.add(key)
    finally:
        scan.close()
    return sent
