"""Reads the records of a Kafka topic as posts of any shape."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from connectors.errors import PositionError, RejectedError
from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.follow import Followed, LostRange, TopicFollower
from connectors.sources.events import Positioned, SkipReason, SourceEvent, SourceGap, SourceSkipped, skipped
from streams.ingest.lines import MAX_LINE_BYTES
from streams.ingest.shaped.documents import DocumentReader
from streams.ingest.shaped.offsets import Place, TopicCursor, read_cursor
from streams.ingest.shaped.options import Begin

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_VALUE_BYTES: Final = MAX_LINE_BYTES
"""A longer value is skipped."""

_MOST_RECORDS: Final = 500
"""Records that are taken from the client at a time."""

_TAKE_S: Final = 0.25
"""Seconds to wait for them. A stop waits as long."""

_EARLIEST_MS: Final = 946_684_800_000
"""The year 2000. A record with an earlier time has none: its producer writes something else there."""

_LOG_S: Final = 60.0
"""Seconds between two lines of the log about values that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicOptions:
    """How a topic is read.

    Attributes:
        topic: the topic.
        kafka: how to reach Kafka.
        group: a group name, which the client requires. Nothing is committed to it.
        begin: where a source without a position begins.
        reader: reads the values.
        check_s: seconds between two questions for new partitions, which also prove that Kafka answers.
    """

    topic: str
    kafka: KafkaConfig
    group: str
    begin: Begin
    reader: DocumentReader
    check_s: float = 10.0


class TopicSource:
    """A source of the records of a Kafka topic. See `connectors.sources.protocol.Source`.

    A post that has no id gets `<topic>-<partition>-<offset>`. The numbers are behind the last two hyphens, so that no
    two records have the same id.
    """

    name = "kafka"
    stable_ids = True

    def __init__(self, options: TopicOptions, *, clock: Callable[[], float] = time.time) -> None:
        """Prepare a source; nothing is connected to.

        Args:
            options: how the topic is read.
            clock: the current time in seconds since 1970.
        """
        self.silence_s = 3 * options.check_s + 6 * options.kafka.timeout_s
        self._options = options
        self._clock = clock
        self._follower: TopicFollower | None = None
        # All calls of the client are in one thread, also that of closing it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"topic-{options.topic}")
        self._logged = -_LOG_S

    async def close(self) -> None:
        """Close the connection."""
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield the records behind the cursor, and follow the topic. See `Source.stream`.

        Raises:
            UnavailableError: Kafka did not answer, or has just deleted the next record.
            RejectedError: The topic does not exist, it was deleted and made again, Kafka refuses the credentials, or
                the cursor is none of this topic.
        """
        places, lost = await self._run(lambda: self._open(cursor))
        yield Positioned(skipped("connected"), places.text)
        waiting: dict[int, LostRange] = {}
        check_at = time.monotonic() + self._options.check_s
        while True:
            for one in lost:
                waiting[one.partition] = one
                if one.is_all:
                    yield self._gap(waiting.pop(one.partition), places, None)
            for positioned in await self._run(lambda: list(self._taken(places, waiting))):
                yield positioned
            lost = []
            if time.monotonic() >= check_at:
                lost = await self._run(lambda: self._check(places))
                check_at = time.monotonic() + self._options.check_s
                yield Positioned(skipped("Kafka answers"), places.text)

    def _open(self, cursor: str | None) -> tuple[TopicCursor, list[LostRange]]:
        options = self._options
        found = read_cursor(cursor) if cursor is not None else None
        self._follower = follower = TopicFollower(options.kafka, options.topic, group=options.group)
        topic_id = follower.topic_id()
        if found is not None:
            found.check(options.topic, topic_id)
        try:
            positions = None if found is None else {number: place.offset for number, place in found.places.items()}
            lost = follower.begin(positions, at_end=options.begin is Begin.LATEST)
        except PositionError as exc:
            raise RejectedError(f"{exc}; --from-now begins with new records, and records a gap") from exc
        known = {} if found is None else found.places
        begun = {
            partition: known.get(partition, Place(0 if found is not None else offset))
            for partition, offset in follower.positions.items()
        }
        return TopicCursor(options.topic, topic_id, begun), lost

    def _check(self, places: TopicCursor) -> list[LostRange]:
        if self._follower is None:
            return []
        # The new topic may already have more records than were read of the old one.
        read_cursor(places.text).check(self._options.topic, self._follower.topic_id())
        return self._follower.check()

    def _taken(self, places: TopicCursor, waiting: dict[int, LostRange]) -> Iterator[Positioned]:
        """Yield the events of the records that have come, and before them the gaps that wait for one."""
        followed: Iterator[Followed] = (
            iter(()) if self._follower is None else self._follower.take(_MOST_RECORDS, _TAKE_S)
        )
        for one in followed:
            if isinstance(one, UnreadableBatch):
                if (lost := waiting.pop(one.partition, None)) is not None:
                    yield self._gap(lost, places, None)
                yield self._unreadable(one, places)
                continue
            partition, offset, time_ms = partition_of(one), offset_of(one), self._time_ms(one)
            if (lost := waiting.pop(partition, None)) is not None:
                yield self._gap(lost, places, time_ms)
            event = self._event(one, f"{self._options.topic}-{partition}-{offset}", time_ms)
            place = Place(offset + 1, time_ms or 0)
            yield Positioned(event, places.set(partition, place), place.time)

    def _event(self, message: Message, default_id: str, time_ms: int | None) -> SourceEvent:
        value = message.value()
        if value is None:
            return skipped("a tombstone")
        if len(value) > MAX_VALUE_BYTES:
            return self._noted(default_id, skipped("the value is longer than 4 MiB", SkipReason.TOO_LARGE))
        received_at = datetime.fromtimestamp(self._clock() if time_ms is None else time_ms / 1_000, UTC)
        event = self._options.reader.event(value, default_id=default_id, received_at=received_at)
        return self._noted(default_id, event)

    def _noted(self, record: str, event: SourceEvent) -> SourceEvent:
        """Log why a value cannot be read, in at most one line a minute: a mapping may fit none of them."""
        if isinstance(event, SourceSkipped) and event.reason in {SkipReason.UNREADABLE, SkipReason.TOO_LARGE}:
            now = time.monotonic()
            if now - self._logged >= _LOG_S:
                self._logged = now
                logger.warning("the value of %s is no post: %s", record, event.detail)
        return event

    def _time_ms(self, message: Message) -> int | None:
        """Returns the time of a record in milliseconds since 1970; None if it has none that is possible."""
        kind, time_ms = message.timestamp()
        if kind == TIMESTAMP_NOT_AVAILABLE or not _EARLIEST_MS <= time_ms <= self._clock() * 1_000:
            return None
        return int(time_ms)

    def _gap(self, lost: LostRange, places: TopicCursor, until_ms: int | None) -> Positioned:
        place = places.place(lost.partition) or Place(lost.first)
        event = SourceGap(
            since=place.time,
            until=Place(0, until_ms or 0).time,
            reason=f"Kafka deleted offsets {lost.first} to {lost.end - 1} of {self._options.topic}[{lost.partition}] "
            "before they were read",
            missing=lost.end - lost.first,
            partial=True,
        )
        return Positioned(event, places.set(lost.partition, Place(lost.end, place.time_ms)))

    def _unreadable(self, batch: UnreadableBatch, places: TopicCursor) -> Positioned:
        place = places.place(batch.partition) or Place(batch.first)
        missing = batch.end - batch.first
        event = SourceGap(since=place.time, until=None, reason=str(batch), missing=missing, partial=True)
        return Positioned(event, places.set(batch.partition, Place(batch.end, place.time_ms)))
