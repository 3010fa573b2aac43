"""Keeps a matcher up to date while keywords are added and removed.

A follower reads the keywords topic in a thread of its own: from the beginning, and then every change as it comes. So a
process that starts later has the same keywords as the others. It joins no consumer group, and commits nothing. While no
broker answers, the keywords stay as they are.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from connectors.errors import UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.table import TopicTable
from streams.ingest.keywords.keyword_set import MAX_ROWS, KeywordSet
from streams.ingest.keywords.matcher import Matcher
from streams.wording import counted

logger = logging.getLogger(__name__)

POLL_S = 0.25
"""Seconds of one poll. Keywords that are added one after the other within this time make one new matcher."""


class KeywordFollower:
    """The matcher of the present keywords. A context manager; its methods may be called in any thread."""

    def __init__(self, config: KafkaConfig, topic: str, *, group: str) -> None:
        """Prepare a follower; `start` begins to read.

        Args:
            config: How to reach Kafka.
            topic: The keywords topic.
            group: A group name, which librdkafka requires and does not use here.
        """
        self._topic = topic
        self._make_table: Callable[[], TopicTable] = lambda: TopicTable(config, topic, group=group, max_rows=MAX_ROWS)
        self._matcher: Matcher | None = None
        self._failure: BaseException | None = None
        self._known_or_failed = threading.Event()
        self._stopping = threading.Event()
        self._refused = 0
        self._thread = threading.Thread(target=self._run, name="keywords", daemon=True)

    def start(self) -> Self:
        """Begin to read. Returns the follower."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop reading, and wait for the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def complete(self) -> bool:
        """Whether all keywords that the topic held at the start are known."""
        return self._matcher is not None

    def wait_until_complete(self, timeout_s: float) -> bool:
        """Wait until all keywords are known. Returns False if they are not within `timeout_s` seconds. Blocking.

        Raises:
            RejectedError: The topic cannot be followed.
        """
        self._known_or_failed.wait(timeout_s)
        self._raise_failure()
        return self.complete

    def matcher(self) -> Matcher:
        """Returns the matcher of the present keywords. Cheap enough for every post.

        Raises:
            UnavailableError: The keywords are not known yet, because Kafka has not answered.
            RejectedError: The topic cannot be followed any more, for example because it was deleted.
        """
        self._raise_failure()
        if self._matcher is None:
            raise UnavailableError(f"the keywords of {self._topic} are not known yet")
        return self._matcher

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            table = self._make_table()
            try:
                while not self._stopping.is_set():
                    self._follow(table)
            finally:
                table.close()
        except BaseException as exc:  # noqa: BLE001 - `matcher` raises it in the thread that uses it
            self._failure = exc
            logger.error("%s: the keywords are no longer followed: %s", self._topic, exc)
        finally:
            self._known_or_failed.set()

    def _follow(self, table: TopicTable) -> None:
        try:
            changed = table.poll(POLL_S)
        except UnavailableError as exc:
            logger.warning("%s", exc)
            return
        if not changed or not table.complete:
            return
        found = KeywordSet.of(table.rows)
        if found.refused != self._refused:
            self._refused = found.refused
            logger.warning("%s: %s cannot be a keyword", self._topic, counted(found.refused, "record"))
        self._matcher = Matcher(found.keywords())
        logger.info("%s: following %s", self._topic, counted(len(found), "keyword"))
        self._known_or_failed.set()
