"""The aggregate stage: classified posts in, window deltas applied to Redis.

For each batch: 1. read where the shards stand, once per assignment and generation of the tables; 2. decode; 3. reduce
each partition to deltas per shard; 4. note what is too late and wait; 5. apply to every shard, for all partitions
together, as a compare-and-set on their positions. A shard that stands elsewhere than expected (a zombie came back,
Redis was rolled back or emptied) changes nothing and ends in one rewind: the source seeks to what is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Protocol

from confluent_kafka import Message

from connectors.errors import PositionMismatchError
from connectors.kafka.batch import Batch, OwnRange, offset_of
from connectors.kafka.producer import Outgoing
from streams.dead_letters import dead_letter, outgoing
from streams.metrics import Metrics
from streams.pipeline.classify import Deliverer
from streams.records import ClassifiedPost, DeadReason, LatePost, RecordError, from_ms
from streams.settings import Settings
from streams.windows.deltas import Entry, Position, Reduction, TooLate, reduce_entries
from streams.windows.post import PostForCounting
from streams.windows.recent import RecentIds
from streams.windows.store import WindowStore
from streams.windows.update import shard_updates

logger = logging.getLogger(__name__)

_Positions = dict[int, list[Position]]
_Reductions = dict[int, list[Reduction]]
"""Both by partition, then by shard."""


class Starts(Protocol):
    """What the stage asks of `AggregatePositions`."""

    @property
    def gaps(self) -> Mapping[int, int]:
        """Where a partition legitimately starts beyond its position."""

    @property
    def recent(self) -> Mapping[int, RecentIds]:
        """The ids before each partition's start; empty where duplicates are counted."""


class AggregateStage:
    """Applies batches to the windows. One batch at a time."""

    def __init__(
        self,
        settings: Settings,
        store: WindowStore,
        producer: Deliverer,
        metrics: Metrics,
        starts: Starts,
    ) -> None:
        """Prepare the stage.

        Args:
            settings: all settings.
            store: the window tables.
            producer: for dead letters and notes of late posts.
            metrics: where everything is counted.
            starts: what is known of where partitions start.
        """
        self._settings = settings
        self._store = store
        self._tables = store
        self._producer = producer
        self._metrics = metrics
        self._starts = starts
        self._epoch = -1
        self._positions: dict[int, list[Position]] = {}
        self._ids: dict[int, RecentIds] = {}

    async def process(self, batch: Batch) -> None:
        """Apply a batch and return when every shard has it.

        Raises:
            PositionMismatchError: a shard stands elsewhere; rewind.
            ConnectorError: Redis or Kafka did not answer, or refused; or the tables are being switched to rebuilt ones.
        """
        if (batch.epoch, self._store.generation) != (self._epoch, self._tables.generation):
            self._epoch, self._positions = batch.epoch, {}
            # One batch goes to one generation, also where rebuilt tables come into force meanwhile.
            self._tables = self._store.at(self._store.generation)
        self._metrics.batch_posts.labels("aggregate").observe(len(batch))
        with self._metrics.batch_seconds.labels("aggregate").time():
            positions = {
                partition: await self._positions_of(partition, start) for partition, start in batch.starts.items()
            }
            dead, reductions = await asyncio.to_thread(self._reduce, batch, positions)
            await self._producer.deliver(dead)
            self._metrics.dead.labels(DeadReason.INVALID_RECORD.value).inc(len(dead))
            await self._note_late(reductions)
            await self._apply(positions, reductions)
        self._metrics.unfetched.inc(len(batch) - len(batch.messages))
        self._count(reductions)

    def applied(self, shard: int) -> dict[int, int]:
        """The offsets up to which this stage knows a shard to have each partition."""
        return {partition: positions[shard].offset for partition, positions in self._positions.items()}

    def forget(self) -> None:
        """Read anew where the shards stand, with the next batch."""
        self._positions = {}

    async def _apply(self, positions: _Positions, reductions: _Reductions) -> None:
        updates = shard_updates(positions, reductions)
        answers = await asyncio.gather(*(self._tables.apply(shard, update) for shard, update in updates.items()))
        for (shard, update), elsewhere in zip(updates.items(), answers, strict=True):
            if elsewhere is not None:
                partition, offset = elsewhere
                expected = update.moves[partition].expected.offset
                raise PositionMismatchError(
                    f"shard {shard} is at offset {offset} of partition {partition}, not at {expected}"
                )
        for shard, update in updates.items():
            for partition, move in update.moves.items():
                positions[partition][shard] = move.new

    async def _positions_of(self, partition: int, start: int) -> list[Position]:
        """Where each shard stands in a partition; read from Redis once per assignment."""
        known = self._positions.get(partition)
        if known is None:
            shards = await asyncio.gather(
                *(self._tables.positions(shard, [partition]) for shard in range(self._tables.shards))
            )
            known = self._positions[partition] = [shard[partition] for shard in shards]
            lowest = min(position.offset for position in known)
            # Also where there is no position any more: the tables were emptied after the start was looked up.
            if max(lowest, 0) < start and self._starts.gaps.get(partition) != start:
                raise PositionMismatchError(f"partition {partition} is read from {start}, a shard is at {lowest}")
            self._ids.pop(partition, None)
            if (recent := self._starts.recent.get(partition)) is not None:
                if recent.offset != start:
                    raise PositionMismatchError(
                        f"partition {partition} is read from {start}, its ids are known to {recent.offset}"
                    )
                self._ids[partition] = recent
        return known

    def _reduce(self, batch: Batch, positions: _Positions) -> tuple[list[Outgoing], _Reductions]:
        dead: list[Outgoing] = []
        reductions: _Reductions = {}
        ends, messages = batch.ends(), batch.by_partition()
        for partition in batch.starts:
            entries, letters = self._decode(partition, messages.get(partition, ()))
            dead += letters
            known = [entry for own in batch.own_ranges if own.partition == partition for entry in _known(own)]
            # A partition is rarely both fetched and not; only then there is something to be put in order.
            entries = sorted(entries + known, key=_offset) if entries and known else entries or known
            reductions[partition] = reduce_entries(
                entries, positions=positions[partition], end=ends[partition], sizes=self._settings.window_sizes
            )
        return dead, reductions

    def _decode(self, partition: int, messages: Sequence[Message]) -> tuple[list[Entry], list[Outgoing]]:
        ids = self._ids.get(partition)
        entries: list[Entry] = []
        dead: list[Outgoing] = []
        for message in messages:
            offset = offset_of(message)
            duplicate = ids is not None and ids.take(offset, message.key(), message.timestamp()[1])
            try:
                post = PostForCounting.of(ClassifiedPost.from_json(message.value()))
            except RecordError as exc:
                letter = dead_letter(message, DeadReason.INVALID_RECORD, str(exc))
                dead.append(outgoing(letter, self._settings.topic_dead))
            else:
                entries.append(Entry(offset, post, duplicate))
        return entries, dead

    async def _note_late(self, reductions: _Reductions) -> None:
        late = [note for of_shards in reductions.values() for reduction in of_shards for note in reduction.too_late]
        await self._producer.deliver([self._late_note(note) for note in late])
        for note in late:
            self._metrics.too_late.labels(str(note.window.size)).inc()

    def _late_note(self, late: TooLate) -> Outgoing:
        note = LatePost(
            id=late.post.id,
            created_at=from_ms(late.post.event_ms),
            size=late.window.size,
            start=from_ms(late.window.start),
            latest_event_time=from_ms(late.partition_time),
            origin=late.post.origin,
        )
        return Outgoing(self._settings.topic_late, note.to_json(), late.post.id.encode())

    def _count(self, reductions: _Reductions) -> None:
        for of_shards in reductions.values():
            # The shards agree but after a partial apply; the largest is what this batch really brought.
            self._metrics.counted.inc(max(reduction.counted for reduction in of_shards))
            self._metrics.repeated.inc(max(reduction.repeated for reduction in of_shards))
            self._metrics.duplicates.inc(max(reduction.duplicates for reduction in of_shards))


def _known(own: OwnRange[PostForCounting]) -> Iterable[Entry]:
    """Results that this worker has written itself; what the windows need of them was kept."""
    return map(Entry, range(own.first, own.end), own.items)


_offset = attrgetter("offset")
