"""The aggregate stage: reads classified posts, and counts them into the window tables in Redis.

For each batch:

1. read the positions of the shards, once per assignment and generation of the window tables;
2. decode the messages that were fetched (own records come decoded), and divide the batch into parts that Redis applies
   in a short time (`windows.parts`); nearly always there is one;
3. write the dead letters, and wait for the broker.

For each part, as long as the batch is not stale:

4. reduce each partition to deltas, grouped by shard;
5. write the records of too-late posts, and wait for the broker;
6. apply the deltas of all partitions to each shard, with a compare-and-set on its positions.

If the position of a shard is not the expected one, step 6 changes nothing in that shard, and the source rewinds to the
stored positions. This happens after another worker has taken over, and after Redis was set back or emptied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Protocol

from confluent_kafka import Message

from connectors.errors import PositionMismatchError
from connectors.kafka.batch import Batch, OwnRange, offset_of
from connectors.kafka.producer import Outgoing
from streams.dead_letters import DeadLetterLog, count_dead_letters, dead_letter, letter_of_batch, outgoing
from streams.metrics import Metrics
from streams.pipeline.batches import StaleBatchError
from streams.pipeline.classify import Deliverer
from streams.records import ClassifiedPost, DeadPost, DeadReason, LatePost, RecordError, from_ms
from streams.settings import Settings
from streams.windows.deltas import Entry, Position, ShardDeltas, TooLatePost, reduce_entries
from streams.windows.parts import Part, divide
from streams.windows.post import PostForCounting
from streams.windows.recent import Horizons, RecentPosts
from streams.windows.store import WindowStore
from streams.windows.update import shard_updates

logger = logging.getLogger(__name__)

_Positions = dict[int, list[Position]]
"""The position of each shard, by partition."""

_DeltasByPartition = dict[int, list[ShardDeltas]]
"""The deltas of each shard, by partition."""


class StartPositions(Protocol):
    """The part of `AggregatePositions` that the stage uses."""

    @property
    def gaps(self) -> Mapping[int, int]:
        """The offset at which reading starts, by partition.

        It has only the partitions that start above their position, because Kafka has deleted the offsets between.
        """

    @property
    def recent_posts(self) -> Mapping[int, RecentPosts]:
        """By assigned partition, what finds duplicates of the records before its start; empty if they are counted."""


class AggregateStage:
    """Applies batches to the window tables. Only one call of `process` may run at a time."""

    def __init__(
        self,
        settings: Settings,
        store: WindowStore,
        producer: Deliverer,
        metrics: Metrics,
        *,
        start_positions: StartPositions,
        is_current: Callable[[Batch], bool],
    ) -> None:
        """Create the stage.

        `producer` writes the dead letters and the records of too-late posts. `is_current` returns whether a batch is
        not stale; it is called between two parts of a batch.
        """
        self._settings = settings
        self._store = store
        self._tables = store  # of the generation that the current batch goes to
        self._producer = producer
        self._metrics = metrics
        self._start_positions = start_positions
        self._is_current = is_current
        self._dead_letter_log = DeadLetterLog(settings.topic_dead)
        self._epoch = -1
        self._positions: dict[int, list[Position]] = {}
        self._recent: dict[int, RecentPosts] = {}
        self._finds_duplicates = Horizons.of(settings).sources > 0

    async def process(self, batch: Batch) -> None:
        """Process a batch, and return when every shard has it.

        Raises:
            PositionMismatchError: A shard is not at the expected position. The source must rewind.
            StaleBatchError: The batch has become stale. Some of its parts may be applied.
            UnavailableError: Redis or Kafka did not answer, or the window tables are sealed for a switch.
            ConnectorError: Redis or Kafka rejected the call.
        """
        if (batch.epoch, self._store.generation) != (self._epoch, self._tables.generation):
            self._epoch, self._positions, self._recent = batch.epoch, {}, {}
            # A batch goes to one generation, even if rebuilt tables become current while it is processed.
            self._tables = self._store.at(self._store.generation)
        self._metrics.batch_posts.labels("aggregate").observe(len(batch))
        with self._metrics.batch_seconds.labels("aggregate").time():
            # Step 1: read the positions of the shards.
            positions = {
                partition: await self._positions_of(partition, start) for partition, start in batch.starts.items()
            }
            # Step 2: decode and divide.
            dead, parts = await asyncio.to_thread(self._decode_batch, batch)
            # Step 3: write the dead letters, and wait for the broker.
            await self._producer.deliver([outgoing(letter, self._settings.topic_dead) for letter in dead])
            count_dead_letters(dead, self._metrics)
            self._dead_letter_log.add(dead)
            for number, part in enumerate(parts):
                # A revocation or a stop waits for the batch, and a batch of many parts takes too long.
                if number > 0 and not self._is_current(batch):
                    raise StaleBatchError
                await self._process_part(part, positions)
        self._metrics.unfetched.inc(len(batch) - len(batch.messages))

    def close(self) -> None:
        """Log the dead letters that the log has not named yet."""
        self._dead_letter_log.flush()

    async def _process_part(self, part: Mapping[int, Part], positions: _Positions) -> None:
        # Step 4: reduce.
        shard_deltas = await asyncio.to_thread(self._reduce, part, positions)
        # Step 5: write the records of too-late posts, and wait for the broker.
        await self._write_too_late(shard_deltas)
        # Step 6: apply the deltas to each shard.
        await self._apply(positions, shard_deltas)
        self._count_metrics(shard_deltas)

    def applied(self, shard: int) -> dict[int, int]:
        """Returns a shard's offset in each partition, as far as this stage has read or applied it."""
        return {partition: positions[shard].offset for partition, positions in self._positions.items()}

    def forget_positions(self) -> None:
        """Forget the positions of the shards, so that the next batch reads them from Redis."""
        self._positions = {}

    async def _apply(self, positions: _Positions, shard_deltas: _DeltasByPartition) -> None:
        updates = shard_updates(positions, shard_deltas)
        for shard, (partition, offset) in (await self._tables.apply_all(updates)).items():
            expected = updates[shard].positions[partition].expected.offset
            raise PositionMismatchError(
                f"shard {shard} is at offset {offset} of partition {partition}, not at {expected}"
            )
        for shard, update in updates.items():
            for partition, change in update.positions.items():
                positions[partition][shard] = change.new

    async def _positions_of(self, partition: int, start: int) -> list[Position]:
        """Returns each shard's position in a partition. It is read from Redis once per assignment and generation."""
        known = self._positions.get(partition)
        if known is None:
            shards = await asyncio.gather(
                *(self._tables.positions(shard, [partition]) for shard in range(self._tables.shards))
            )
            known = self._positions[partition] = [shard[partition] for shard in shards]
            lowest = min(position.offset for position in known)
            # A lowest offset of -1 means that Redis was emptied after the start was looked up.
            if max(lowest, 0) < start and self._start_positions.gaps.get(partition) != start:
                raise PositionMismatchError(
                    f"partition {partition} is read from offset {start}, but a shard is at {lowest}"
                )
            self._take_recent_posts(partition, start)
        return known

    def _take_recent_posts(self, partition: int, start: int) -> None:
        """Take what finds the duplicates of a partition that is read from an offset on."""
        self._recent.pop(partition, None)
        recent = self._start_positions.recent_posts.get(partition)
        if recent is None:
            if self._finds_duplicates:
                raise PositionMismatchError(f"the recent ids of partition {partition} are not known any more")
            return
        if recent.offset != start:
            raise PositionMismatchError(
                f"partition {partition} is read from offset {start}, but its recent ids end at {recent.offset}"
            )
        self._recent[partition] = recent

    def _decode_batch(self, batch: Batch) -> tuple[list[DeadPost], list[dict[int, Part]]]:
        """Do step 2. Returns the dead letters, and the parts."""
        dead = [letter_of_batch(unreadable) for unreadable in batch.unreadable]
        entries: dict[int, list[Entry]] = {}
        messages, ends = batch.by_partition(), batch.ends()
        for partition in batch.starts:
            fetched, letters = self._decode(partition, messages.get(partition, ()))
            dead += letters
            own = [entry for part in batch.own_ranges if part.partition == partition for entry in _entries_of(part)]
            # Entries must be in offset order. A partition rarely has both kinds, so sorting is rarely needed.
            entries[partition] = sorted(fetched + own, key=_offset) if fetched and own else fetched or own
            # There are own records only while no ids but those of sources are remembered, and none is of a source.
            if (recent := self._recent.get(partition)) is not None:
                recent.offset = ends[partition]
        parts = divide(entries, ends, sizes=self._settings.window_sizes, shards=self._tables.shards)
        return dead, parts

    def _reduce(self, part: Mapping[int, Part], positions: _Positions) -> _DeltasByPartition:
        """Do step 4. Returns the deltas."""
        sizes = self._settings.window_sizes
        return {
            partition: reduce_entries(
                of_partition.entries, positions=positions[partition], end=of_partition.end, sizes=sizes
            )
            for partition, of_partition in part.items()
        }

    def _decode(self, partition: int, messages: Sequence[Message]) -> tuple[list[Entry], list[DeadPost]]:
        recent = self._recent.get(partition)
        forgotten = 0 if recent is None else recent.forgotten
        entries: list[Entry] = []
        dead: list[DeadPost] = []
        for message in messages:
            try:
                classified = ClassifiedPost.from_partition(message.value(), self._settings.topic_raw, partition)
                post = PostForCounting.of(classified)
            except RecordError as exc:
                dead.append(dead_letter(message, DeadReason.INVALID_RECORD, str(exc)))
                continue
            offset = offset_of(message)
            duplicate = recent is not None and recent.add(offset, message.key(), message.timestamp()[1])
            entries.append(Entry(offset, post, duplicate))
        if recent is not None:
            self._metrics.ids_forgotten.inc(recent.forgotten - forgotten)
        return entries, dead

    async def _write_too_late(self, shard_deltas: _DeltasByPartition) -> None:
        too_late = [post for shards in shard_deltas.values() for deltas in shards for post in deltas.too_late]
        await self._producer.deliver([self._too_late_record(post) for post in too_late])
        for post in too_late:
            self._metrics.too_late.labels(str(post.window.size)).inc()

    def _too_late_record(self, too_late: TooLatePost) -> Outgoing:
        record = LatePost(
            id=too_late.post.id,
            created_at=from_ms(too_late.post.event_ms),
            size=too_late.window.size,
            start=from_ms(too_late.window.start),
            latest_event_time=from_ms(too_late.latest_event_ms),
            origin=too_late.post.origin,
        )
        return Outgoing(self._settings.topic_late, record.to_json(), too_late.post.id.encode())

    def _count_metrics(self, shard_deltas: _DeltasByPartition) -> None:
        for shards in shard_deltas.values():
            # The shards' numbers differ only if an earlier apply reached some of them. Then the largest is right.
            self._metrics.counted.inc(max(deltas.counted for deltas in shards))
            self._metrics.repeated.inc(max(deltas.repeated for deltas in shards))
            self._metrics.duplicates.inc(max(deltas.duplicates for deltas in shards))


def _entries_of(own: OwnRange[PostForCounting]) -> Iterable[Entry]:
    """Returns the entries of own records, which this process wrote itself and need not fetch."""
    return map(Entry, range(own.first, own.end), own.items)


_offset = attrgetter("offset")
