"""Reads the topics for the audit. Each record is read once: a later pass begins where the last one ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from confluent_kafka import Message

from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.scan import Bounds, TopicScan
from streams.connections import scan_group
from streams.ops.audit.counted import ClassifiedRecord, CountedWindows
from streams.ops.audit.delivery import EXAMPLES, Outcomes
from streams.ops.audit.offset_sets import OffsetSet
from streams.records import ClassifiedPost, Origin, OriginOnly, RecordError
from streams.settings import Settings
from streams.windows.post import PostForCounting

OnProgress = Callable[[str, int, int], None]
"""Called with the topic, the records read so far, and the total."""

_SLACK_MS = 60_000
"""A dead letter is written before the classified posts of its batch, by much less than these milliseconds."""


class TopicReader:
    """Reads the raw, dead-letter and classified topics, and keeps the outcomes of the raw posts.

    Attributes:
        outcomes: the offsets of the raw posts, and of their results.
        raw: the bounds of the raw topic at the last pass. Posts that were produced later are left out.
        complete: whether Kafka held the classified topic from its beginning, when it was first read.
    """

    def __init__(self, settings: Settings, kafka: KafkaConfig, offsets: OffsetReader, progress: OnProgress) -> None:
        self._settings = settings
        self._kafka = kafka
        self._offsets = offsets
        self._progress = progress
        self._next: dict[str, dict[int, int]] = {}
        self._ends: dict[int, int] = {}
        self._dead_since_ms: int | None = None
        self._unreadable: list[UnreadableBatch] = []  # of the last pass
        self.outcomes = Outcomes()
        self.raw: Bounds = {}
        self.complete = True

    def read(self, windows: CountedWindows) -> None:
        """Read what was appended since the last pass, and count the classified posts into `windows`.

        The end of the raw topic is read first.

        Raises:
            PositionError: A topic was deleted and made again since the last pass.
            ConnectorError: Kafka does not answer, or a topic is missing.
        """
        settings, outcomes = self._settings, self.outcomes
        for message in self._pass(settings.topic_raw):
            outcomes.produced.setdefault(partition_of(message), OffsetSet()).add(offset_of(message))
        for message in self._pass(settings.topic_dead):
            if (letter := OriginOnly.find(message.value())) is not None:
                self._add(outcomes.dead, message, letter.origin, letter.last_offset)
        for message in self._pass(settings.topic_classified):
            post = self._classified_post(message)
            record = OriginOnly.find(message.value()) if post is None else post
            own = record is not None and record.origin.partition == partition_of(message)
            if record is not None and own and self._add(outcomes.classified, message, record.origin):
                self._note_held_from(message, record.origin)
            if post is not None:
                windows.add(partition_of(message), _to_record(message, post))
        windows.flush()

    def read_again(self, windows: CountedWindows) -> None:
        """Count the classified posts that were read before once more, for other groups of windows.

        Raises:
            ConnectorError: Kafka does not answer.
        """
        ends = self._next[self._settings.topic_classified]
        for message in self._scan(self._settings.topic_classified, {}):
            if offset_of(message) < ends.get(partition_of(message), 0):
                post = self._classified_post(message)
                if post is not None:
                    windows.add(partition_of(message), _to_record(message, post))
        windows.flush()

    def _classified_post(self, message: Message) -> ClassifiedPost | None:
        """Returns a record of the classified topic; None if it is one that the aggregate stage dead-letters."""
        with suppress(RecordError):
            return ClassifiedPost.from_partition(message.value(), self._settings.topic_raw, partition_of(message))
        return None

    def _pass(self, topic: str) -> Iterator[Message]:
        first = topic not in self._next
        ends = self._next.setdefault(topic, {})
        for message in self._scan(topic, ends, first=first):
            ends[partition_of(message)] = offset_of(message) + 1
            yield message
        for batch in self._unreadable:
            ends[batch.partition] = max(ends.get(batch.partition, 0), batch.end)
            self.outcomes.unreadable.append(str(batch))
            if topic == self._settings.topic_raw:
                # Each of these offsets must be in the dead letter of the batch.
                produced = self.outcomes.produced.setdefault(batch.partition, OffsetSet())
                produced.add_range(batch.first, batch.end)

    def _scan(self, topic: str, starts: Mapping[int, int], *, first: bool = False) -> Iterator[Message]:
        scan = TopicScan(self._kafka, topic, group=scan_group(self._settings), starts=dict(starts))
        try:
            if topic == self._settings.topic_raw:
                self.raw = scan.bounds
                self._ends = {partition: end for partition, (_, end) in scan.bounds.items()}
            if first:
                self._note_bounds(topic, scan.bounds)
            total = scan.total()
            for done, message in enumerate(scan.messages(), start=1):
                if done % 1_000 == 0 or done == total:
                    self._progress(topic, done, total)
                if first and topic == self._settings.topic_dead and self._dead_since_ms == 0:
                    self._dead_since_ms = message.timestamp()[1] + _SLACK_MS
                yield message
            self._unreadable = scan.unreadable
        finally:
            scan.close()

    def _note_bounds(self, topic: str, bounds: Bounds) -> None:
        """Note what Kafka no longer held at the first pass."""
        if topic == self._settings.topic_dead and any(low for low, _ in bounds.values()):
            # Results may be missing up to the first dead letter that is left; the first message tells its time.
            self._dead_since_ms = 0 if any(high > low for low, high in bounds.values()) else time.time_ns() // 1_000_000
        if topic == self._settings.topic_classified:
            self.complete = all(low == 0 for low, _ in bounds.values())
            if self._dead_since_ms is None:
                self.outcomes.held_from = {partition: 0 for partition, (low, _) in bounds.items() if low == 0}

    def _note_held_from(self, message: Message, origin: Origin) -> None:
        """Note the first raw offset of a partition from which on Kafka holds all results."""
        if origin.partition in self.outcomes.held_from:
            return
        if self._dead_since_ms is None or message.timestamp()[1] > self._dead_since_ms:
            self.outcomes.held_from[origin.partition] = origin.offset

    def _add(
        self, results: dict[int, OffsetSet], message: Message, origin: Origin, last_offset: int | None = None
    ) -> bool:
        """Add the origin of a result, or all origins of the dead letter of an unreadable batch.

        What lies beyond the end of the raw topic is of no raw post. It is noted, whoever wrote it, and not added.

        Returns:
            Whether `origin` is that of a raw post.
        """
        if origin.topic != self._settings.topic_raw:
            return False
        partition, first = origin.partition, origin.offset
        end = (first if last_offset is None else last_offset) + 1
        if partition in self._ends and end > self._ends[partition]:
            # The post may have been produced since the pass over the raw topic.
            self._ends[partition] = self._offsets.bounds(self._settings.topic_raw, partition)[1]
        known = min(end, self._ends.get(partition, 0))
        if known < end:
            self.outcomes.unknown_results += 1
            if len(self.outcomes.unknown) < EXAMPLES:
                where = f"{message.topic()}[{partition_of(message)}]@{offset_of(message)}"
                self.outcomes.unknown.append(f"{where} names {origin.topic}[{partition}]@{end - 1}, which never was")
        if known <= first:
            return False
        results.setdefault(partition, OffsetSet()).add_range(first, known)
        return True


def _to_record(message: Message, post: ClassifiedPost) -> ClassifiedRecord:
    return ClassifiedRecord(offset_of(message), message.key(), message.timestamp()[1], PostForCounting.of(post))
