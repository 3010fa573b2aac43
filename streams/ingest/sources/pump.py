"""One connection of a source: reads its events, writes posts and deletions to Kafka, and stores the position.

While a source is connected, two tasks run: one reads events into a bounded buffer, and the other does, in this order:

1. take the buffer, and the cursor behind its last event;
2. write the posts and the deletions, and wait until Kafka has confirmed each; a source that answers is told so;
3. once a second, read where the raw topic ends;
4. store the cursor with these ends, and the gaps before it.

A crash before step 2 loses the buffer, and the network repeats its events. A crash between step 2 and 4 leaves posts
behind the stored ends, and the next process reads their ids before it continues from the cursor. It may repeat
deletions, which does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import msgspec

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.producer import Outgoing, WrittenOffsets
from connectors.kafka.transactional import FencedError
from connectors.sources.events import Positioned, SourcePost
from connectors.sources.protocol import AcknowledgingSource, RetryingSource, Source
from streams.ingest.sources.history import OffsetHistory
from streams.ingest.sources.intake import Intake, Taken
from streams.ingest.sources.metrics import InstanceMetrics
from streams.records import MAX_FAILURE_CHARS, GapRecord, SourcePosition, Timestamp
from streams.redact import redact

logger = logging.getLogger(__name__)

T = TypeVar("T")

FLUSH_S = 0.1
"""Seconds that a post waits in the buffer at most, while Kafka confirms the posts before it."""

SAVE_S = 1.0
"""Seconds between two stored positions while events come."""

REPORT_S = 10.0
"""Seconds between two stored positions while something is counted, and the position stays the same."""

REREAD_S = 60.0
"""Seconds of the raw topic before a position that a restarted process reads, to know what a source may repeat."""

MOST_BUFFERED = 2_000
"""Most posts and deletions in the buffer. While it is full, nothing is read from the network."""

_YIELD_EVERY = 256
"""Events after which the reader lets other tasks run, also if its source never waits."""


class StorageError(Exception):
    """Kafka did not take posts or a position. The cause is a `ConnectorError`."""


class Deliverer(Protocol):
    """The method of a producer that the pump needs; `ConfirmedProducer` has it."""

    async def deliver(self, records: Sequence[Outgoing], /) -> WrittenOffsets:
        """Write records, and wait until each is confirmed."""
        ...


class Pump:
    """Moves the posts of one instance of a source, one connection after the other.

    Attributes:
        cursor: where the source continues: behind everything that Kafka has confirmed; None to begin now.
        has_saved: whether it has stored a position.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        instance: str,
        source: str,
        raw_topic: str,
        producer: Deliverer,
        save: Callable[[SourcePosition, Sequence[GapRecord]], Awaitable[None]],
        ends: Callable[[], Awaitable[Mapping[int, int]]],
        history: OffsetHistory,
        position: SourcePosition | None,
        former: SourcePosition | None = None,
        metrics: InstanceMetrics,
        rate: float | None = None,
    ) -> None:
        """Prepare to continue from a position.

        Args:
            intake: makes posts of the events.
            instance: the name of the instance.
            source: the kind of source, such as `bluesky`.
            raw_topic: the topic that the posts are written to.
            producer: writes the posts.
            save: stores a position and the gaps before it.
            ends: returns where each partition of the raw topic ends.
            history: where the raw topic ended a while ago.
            position: where to continue: the stored position, or what `--from-now` keeps of it; None if there is none.
            former: the stored position, with its place; None if it is `position`.
            metrics: counts what happens.
            rate: the most posts a second that are sent; None for no limit.
        """
        self.cursor = position.cursor if position is not None else None
        self.has_saved = False
        self._intake = intake
        self._instance = instance
        self._source = source
        self._raw_topic = raw_topic
        self._producer = producer
        self._store_position = save
        self._ends = ends
        self._history = history
        self._metrics = metrics
        self._rate = rate
        self._gaps: list[GapRecord] = []  # whose posts before and behind are confirmed
        self._is_new = position is None
        self._last = former or position  # as it is stored
        # The cursor and the time that are stored; None if the instance has never begun.
        self._stored: tuple[str | None, datetime | None] | None = None
        if position is not None and position.begun:
            self._stored = (position.cursor, position.at)
        self._stored_at = -SAVE_S
        self._counted = metrics.counted()
        self._heard = 0.0
        self._last_event: float | None = None
        self._held_up = False
        self._due = 0.0
        self._acknowledge: Callable[[str], None] | None = None
        self._retries: Callable[[], int] | None = None
        self._retried = 0  # those that are counted
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether a position is stored, from which another process would continue."""
        return self._stored is not None

    def take_progress(self) -> bool:
        """Returns whether there was a new post or a later event since the last call, and not only a connection."""
        return self._intake.take_progress()

    async def run(self, source: Source, stop: asyncio.Event) -> bool:
        """Read a source until it ends, fails or is silent, or until `stop`; then store the position.

        If the call is cancelled, nothing more is written, except what is being written at that moment.

        Returns:
            Whether the source has ended by itself.

        Raises:
            UnavailableError: The connection failed, or no event came for `silence_s` of the source.
            RejectedError: The network refuses the credentials or the cursor.
            FencedError: Another process has taken the position over.
            StorageError: Kafka did not take posts or the position. What has been read since is dropped.
        """
        await self._begin()
        self._acknowledge = source.confirmed if isinstance(source, AcknowledgingSource) else None
        self._retries, self._retried = (source.retries if isinstance(source, RetryingSource) else None), 0
        self._heard = time.monotonic()
        self._intake.connected()
        self._wake.clear()
        reader = asyncio.create_task(self._read(source))
        reader.add_done_callback(lambda _: self._wake.set())
        silence: UnavailableError | None = None
        try:
            while not reader.done() and not stop.is_set() and silence is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_S):
                        await self._wake.wait()
                self._wake.clear()
                await self._flush()
                silence = self._silence(source.silence_s)
        finally:
            reader.cancel()
            await asyncio.wait([reader])
            # An exception that nobody asks for would be logged.
            broken = None if reader.cancelled() else reader.exception()
        await self._flush(last=True)
        if silence is not None:
            raise silence
        if broken is not None:
            raise broken
        if self._has_failure:
            await self._store_failure(None)
        return not reader.cancelled()

    async def _begin(self) -> None:
        if self._is_new:
            # Without a cursor, but with the ends: a next process then knows the posts that this one sends.
            await self._save(Taken([], [], None, None, 0))
            self._is_new = False

    async def fail(self, failure: Exception) -> None:
        """Store why the source ends for good, beside its position. What is not stored yet is dropped.

        Raises:
            FencedError: Another process has taken the position over.
            StorageError: Kafka did not take it.
        """
        await self._begin()
        text = " ".join(redact(str(failure)).split())
        await self._store_failure(text if len(text) <= MAX_FAILURE_CHARS else f"{text[: MAX_FAILURE_CHARS - 1]}…")

    async def _store_failure(self, failure: str | None) -> None:
        """Store the last position again, which has a place also if `--from-now` has dropped it, with other figures."""
        if self._last is None:
            return
        self._last = msgspec.structs.replace(
            self._last, saved_at=Timestamp.now(UTC), report=self._metrics.report(failure)
        )
        await _stored(self._store_position(self._last, ()))

    @property
    def _has_failure(self) -> bool:
        """Whether the stored position says that the source has failed."""
        report = None if self._last is None else self._last.report
        return report is not None and report.failure is not None

    def _silence(self, silence_s: float) -> UnavailableError | None:
        quiet_s = time.monotonic() - self._heard
        if self._held_up or quiet_s <= silence_s:
            return None
        return UnavailableError(f"no event came for {quiet_s:.0f} s")

    async def _read(self, source: Source) -> None:
        events = 0
        async with aclosing(source.stream(self.cursor)) as stream:  # type: ignore[type-var]
            async for positioned in stream:
                self._heard = self._last_event = time.monotonic()
                is_sent = False
                if self._rate is None:
                    self._intake.add(positioned)
                else:
                    is_sent = self._add_at_once(positioned)
                events += 1
                # The first time, the position must be stored from which all begins.
                if self._stored is None or len(self._intake) >= MOST_BUFFERED:
                    await self._wait_for_flush()
                elif events % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                if self._rate is not None and is_sent:
                    await self._pace(self._rate)

    def _add_at_once(self, positioned: Positioned) -> bool:
        """Add an event, and make a record of it now. Returns whether it is a post that is sent."""
        buffered = len(self._intake)
        self._intake.add(positioned)
        self._intake.make_records()
        return isinstance(positioned.event, SourcePost) and len(self._intake) > buffered

    async def _wait_for_flush(self) -> None:
        self._held_up = True
        self._room.clear()
        self._wake.set()
        await self._room.wait()
        self._heard = time.monotonic()
        self._held_up = False

    async def _pace(self, rate: float) -> None:
        now = time.monotonic()
        self._due = max(self._due, now - 1.0) + 1.0 / rate
        if self._due > now:
            self._held_up = True
            await asyncio.sleep(self._due - now)
            self._heard = time.monotonic()
            self._held_up = False

    async def _flush(self, *, last: bool = False) -> None:
        # Step 1: take the buffer, and the cursor behind its last event.
        taken = self._intake.take()
        # Step 2: write the posts and the deletions, and wait until Kafka has confirmed each.
        if taken.records:
            await _stored(self._producer.deliver(taken.records))
            self._metrics.posts.inc(sum(record.topic == self._raw_topic for record in taken.records))
        self.cursor = taken.cursor
        if self._acknowledge is not None and taken.cursor is not None:
            self._acknowledge(taken.cursor)
        if self._retries is not None and (retried := self._retries()) > self._retried:
            self._metrics.retries.inc(retried - self._retried)
            self._retried = retried
        self._gaps += taken.gaps
        self._metrics.note(taken.at, self._last_event)
        if self._save_is_due(taken.cursor, taken.at, last=last):
            await self._save(taken)
        elif self._has_failure and self._last_event is not None:
            await self._store_failure(None)
        self._room.set()

    def _save_is_due(self, cursor: str | None, at: datetime | None, *, last: bool) -> bool:
        if cursor is None and at is None:
            return False  # a process could not continue from this
        if self._stored is None or self._gaps:
            return True
        waited_s = time.monotonic() - self._stored_at
        if (cursor, at) != self._stored:
            return last or waited_s >= SAVE_S
        return (last or waited_s >= REPORT_S) and self._metrics.counted() != self._counted

    async def _save(self, taken: Taken) -> None:
        # Step 3: read where the raw topic ends. No post of this source is being written.
        ends = await _stored(self._ends())
        reread = self._history.add(ends, time.monotonic(), taken.at)
        counted = self._metrics.counted()
        position = SourcePosition(
            instance=self._instance,
            source=self._source,
            cursor=taken.cursor,
            at=None if taken.at is None else Timestamp.of(taken.at),
            raw_topic=self._raw_topic,
            offsets=_as_text(ends),
            reread=_as_text(reread),
            gaps=taken.gap_number,
            saved_at=Timestamp.now(UTC),
            report=self._metrics.report(),
        )
        # Step 4: store the cursor with these ends, and the gaps before it.
        await _stored(self._store_position(position, self._gaps))
        self.has_saved, self._last = True, position
        for gap in self._gaps:
            logger.warning("%s: a gap: %s", self._instance, gap.reason)
        self._gaps, self._counted = [], counted
        if taken.cursor is not None or taken.at is not None:
            self._stored, self._stored_at = (taken.cursor, taken.at), time.monotonic()


def _as_text(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(offsets.items())}


async def _stored(work: Awaitable[T]) -> T:
    try:
        return await work
    except FencedError:
        raise
    except ConnectorError as exc:
        raise StorageError(str(exc)) from exc
