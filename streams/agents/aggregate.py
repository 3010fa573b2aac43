"""The aggregate stage: classified posts in, window deltas applied to Redis.

For each partition of a batch: 1. decode; 2. read where the shards stand, once per assignment; 3. reduce to deltas per
shard; 4. note what is too late and wait; 5. apply to every shard, each a compare-and-set on its position. A shard that
stands elsewhere than expected (a zombie came back, Redis was rolled back or emptied) changes nothing and ends in one
rewind: the source seeks to what is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from confluent_kafka import Message
from pydantic import ValidationError

from connectors.kafka.consumer import Batch, offset_of
from connectors.kafka.producer import Outgoing
from streams.agents.classify import Deliverer
from streams.dead_letters import dead_letter, outgoing
from streams.metrics import Metrics
from streams.records import ClassifiedPost, DeadReason, LatePost, explain, from_ms
from streams.settings import Settings
from streams.windows.deltas import Entry, Position, Reduction, TooLate, reduce_entries
from streams.windows.store import WindowStore

logger = logging.getLogger(__name__)


class PositionMismatch(Exception):  # noqa: N818 - not an error: the cure is a rewind
    """The tables do not stand where this batch continues."""


class AggregateStage:
    """Applies batches to the windows. One batch at a time."""

    def __init__(
        self,
        settings: Settings,
        store: WindowStore,
        producer: Deliverer,
        metrics: Metrics,
        gaps: Mapping[int, int],
    ) -> None:
        """`gaps` tells where a partition legitimately starts beyond its position (`AggregatePositions.gaps`)."""
        self._settings = settings
        self._store = store
        self._producer = producer
        self._metrics = metrics
        self._gaps = gaps
        self._epoch = -1
        self._positions: dict[int, list[Position]] = {}

    async def process(self, batch: Batch) -> None:
        """Apply a batch and return when every shard has it.

        Raises:
            PositionMismatch: a shard stands elsewhere; rewind.
            ConnectorError: Redis or Kafka did not answer, or refused.
        """
        if batch.epoch != self._epoch:
            self._epoch, self._positions = batch.epoch, {}
        self._metrics.batch_posts.labels("aggregate").observe(len(batch.messages))
        ends = batch.ends()
        for partition, messages in batch.by_partition().items():
            with self._metrics.batch_seconds.labels("aggregate").time():
                await self._process_partition(partition, messages, batch.starts[partition], ends[partition])

    def applied(self, shard: int) -> dict[int, int]:
        """The offsets up to which this stage knows a shard to have each partition."""
        return {partition: positions[shard].offset for partition, positions in self._positions.items()}

    def forget(self) -> None:
        """Read anew where the shards stand, with the next batch."""
        self._positions = {}

    async def _process_partition(self, partition: int, messages: Sequence[Message], start: int, end: int) -> None:
        positions = await self._stand(partition, start)
        dead, reductions = await asyncio.to_thread(self._reduce, messages, positions, end)
        await self._producer.deliver(dead)
        self._metrics.dead.labels(DeadReason.INVALID_RECORD.value).inc(len(dead))
        await self._note_late(reductions)
        pending = [shard for shard, position in enumerate(positions) if position.offset < end]
        answers = await asyncio.gather(
            *(self._store.apply(shard, partition, positions[shard], reductions[shard]) for shard in pending)
        )
        for shard, stored in zip(pending, answers, strict=True):
            if stored is not None:
                raise PositionMismatch(
                    f"shard {shard} stands at {stored} of partition {partition}, not at {positions[shard].offset}"
                )
        for shard in pending:
            positions[shard] = reductions[shard].position
        self._count(reductions)

    async def _stand(self, partition: int, start: int) -> list[Position]:
        """Where each shard stands in a partition; read from Redis once per assignment."""
        known = self._positions.get(partition)
        if known is None:
            shards = await asyncio.gather(
                *(self._store.positions(shard, [partition]) for shard in range(self._store.shards))
            )
            known = self._positions[partition] = [shard[partition] for shard in shards]
            lowest = min(position.offset for position in known)
            # Also where there is no position any more: the tables were emptied after the start was looked up.
            if max(lowest, 0) < start and self._gaps.get(partition) != start:
                raise PositionMismatch(f"partition {partition} is read from {start}, a shard stands at {lowest}")
        return known

    def _reduce(
        self, messages: Sequence[Message], positions: Sequence[Position], end: int
    ) -> tuple[list[Outgoing], list[Reduction]]:
        entries: list[Entry] = []
        dead: list[Outgoing] = []
        for message in messages:
            try:
                post = ClassifiedPost.model_validate_json(message.value() or b"")
            except ValidationError as exc:
                letter = dead_letter(message, DeadReason.INVALID_RECORD, explain(exc))
                dead.append(outgoing(letter, self._settings.topic_dead))
            else:
                entries.append(Entry(offset_of(message), post))
        return dead, reduce_entries(entries, positions=positions, end=end, sizes=self._settings.window_sizes)

    async def _note_late(self, reductions: Sequence[Reduction]) -> None:
        late = [note for reduction in reductions for note in reduction.too_late]
        await self._producer.deliver([self._late_note(note) for note in late])
        for note in late:
            self._metrics.too_late.labels(str(note.window.size)).inc()

    def _late_note(self, late: TooLate) -> Outgoing:
        note = LatePost(
            id=late.post.id,
            created_at=late.post.created_at,
            size=late.window.size,
            start=from_ms(late.window.start),
            watermark=from_ms(late.partition_time),
            origin=late.post.origin,
        )
        return Outgoing(self._settings.topic_late, note.model_dump_json().encode(), late.post.id.encode())

    def _count(self, reductions: Sequence[Reduction]) -> None:
        # The shards agree but after a partial apply; the largest is what this batch really brought.
        self._metrics.counted.inc(max(reduction.counted for reduction in reductions))
        self._metrics.repeated.inc(max(reduction.repeated for reduction in reductions))
