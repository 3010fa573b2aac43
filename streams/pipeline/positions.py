"""Where each stage resumes: from what its own output proves (DESIGN: the output is the position)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from connectors.errors import PositionError, UnavailableError
from connectors.kafka.batch import offset_of
from connectors.kafka.offsets import OffsetReader, start_offset
from streams.metrics import Metrics
from streams.records import OriginOnly, RecordError
from streams.settings import Settings
from streams.topology import check_assigned
from streams.windows.completeness import kafka_complete_from
from streams.windows.recent import RecentIds
from streams.windows.store import SealedError, WindowStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOKUP_TIMEOUT_S = 30.0
"""For reading positions from Redis across threads: above the client's own retries, below the poll interval."""


class ClassifyPositions:
    """Positions in the raw topic, from the last origin in each partition of the classified topic."""

    def __init__(self, reader: OffsetReader, settings: Settings, metrics: Metrics) -> None:
        self._reader = reader
        self._raw = settings.topic_raw
        self._classified = settings.topic_classified
        self._partitions = settings.partitions
        self._metrics = metrics

    def __call__(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Look the positions up; see `connectors.kafka.consumer.PositionLookup`."""
        check_assigned(self._raw, partitions, self._partitions)
        hints = self._reader.committed(self._raw, partitions)
        starts = {}
        for partition in partitions:
            proven = self._proven(partition)
            bounds = self._reader.bounds(self._raw, partition)
            start = starts[partition] = start_offset(self._raw, partition, proven, bounds, hints.get(partition))
            if proven is not None and start > proven:
                _report_gap(self._metrics, self._raw, partition, proven, start)
        return starts

    def _proven(self, partition: int) -> int | None:
        last = self._reader.last_message(self._classified, partition)
        if last is None:
            return None
        where = f"{self._classified}[{partition}]@{offset_of(last)}"
        try:
            origin = OriginOnly.from_json(last.value()).origin
        except RecordError as exc:
            raise PositionError(f"{where} is not a classified post; only the workers may write there") from exc
        if (origin.topic, origin.partition) != (self._raw, partition):
            raise PositionError(
                f"{where} was made from {origin.topic}[{origin.partition}], not from {self._raw}[{partition}]"
            )
        return origin.offset + 1


class AggregatePositions:
    """Positions in the classified topic, from Redis: the lowest of the shards, in the generation that is in force.

    Attributes:
        gaps: where a partition starts beyond its position (or, without one, beyond 0) because Kafka no longer holds
            what lies between.
        recent_ids: the ids of the records before each partition's start; empty where duplicates are counted.
    """

    def __init__(
        self,
        reader: OffsetReader,
        settings: Settings,
        store: WindowStore,
        loop: asyncio.AbstractEventLoop,
        metrics: Metrics,
    ) -> None:
        """`loop` is the event loop that the store belongs to; calls come from other threads."""
        self._reader = reader
        self._classified = settings.topic_classified
        self._partitions = settings.partitions
        self._max_future_ms = int(settings.max_future_s * 1_000)
        self._store = store
        self._loop = loop
        self._metrics = metrics
        self._horizon_ms = int(settings.deduplication_s * 1_000)
        self.gaps: dict[int, int] = {}
        self.recent_ids: dict[int, RecentIds] = {}

    def __call__(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Look the positions up; see `connectors.kafka.consumer.PositionLookup`."""
        check_assigned(self._classified, partitions, self._partitions)
        tables = self._await(self._in_force())
        if uninitialised := self._await(_uninitialised(tables)):
            complete_from = self._complete_from()
            for shard in uninitialised:
                self._await(tables.initialise(shard, complete_from))
        lowest = self._await(_lowest(tables, partitions))
        starts = {}
        for partition in partitions:
            proven = lowest[partition] if lowest[partition] >= 0 else None
            bounds = self._reader.bounds(self._classified, partition)
            start = starts[partition] = start_offset(self._classified, partition, proven, bounds, None)
            self.gaps.pop(partition, None)
            if start > (proven or 0):
                self.gaps[partition] = start
                _report_gap(self._metrics, self._classified, partition, proven or 0, start)
            if self._horizon_ms:
                self.recent_ids[partition] = self._read_recent_ids(partition, start, bounds)
        return starts

    def _read_recent_ids(self, partition: int, start: int, bounds: tuple[int, int]) -> RecentIds:
        """The ids within the horizon before `start`, read again from the partition."""
        found = RecentIds(self._horizon_ms, start)
        low, _ = bounds
        if start > low:
            last = next(self._reader.between(self._classified, partition, start - 1, start), None)
            since = last.timestamp()[1] - self._horizon_ms if last is not None else 0
            begin = self._reader.offset_at(self._classified, partition, max(0, since))
            for message in self._reader.between(self._classified, partition, low if begin is None else begin, start):
                found.add(offset_of(message), message.key(), message.timestamp()[1])
            found.offset = start
        return found

    def _await(self, reading: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(reading, self._loop)
        try:
            return future.result(LOOKUP_TIMEOUT_S)
        except FutureTimeoutError as exc:
            future.cancel()
            raise UnavailableError("Redis did not answer while reading positions") from exc

    def _complete_from(self) -> int:
        """The event time in ms from which Kafka holds every post; 0 where it holds all there ever were."""
        return max(
            kafka_complete_from(self._reader, self._classified, partition, self._max_future_ms)
            for partition in range(self._partitions)
        )

    async def _in_force(self) -> WindowStore:
        """The tables of the generation that is in force.

        Raises:
            SealedError: they are being switched to rebuilt ones.
        """
        tables = self._store.at(await self._store.refresh())
        if any(await asyncio.gather(*(tables.sealed(shard) for shard in range(tables.shards)))):
            raise SealedError
        return tables


async def _uninitialised(tables: WindowStore) -> list[int]:
    initialised = await asyncio.gather(*(tables.is_initialised(shard) for shard in range(tables.shards)))
    return [shard for shard, done in enumerate(initialised) if not done]


async def _lowest(tables: WindowStore, partitions: Sequence[int]) -> dict[int, int]:
    shards = await asyncio.gather(*(tables.positions(shard, partitions) for shard in range(tables.shards)))
    return {partition: min(shard[partition].offset for shard in shards) for partition in partitions}


def _report_gap(metrics: Metrics, topic: str, partition: int, start: int, end: int) -> None:
    metrics.gap_offsets.labels(topic).inc(end - start)
    logger.error(
        "%s[%d]: offsets %d to %d left Kafka's retention before they were read; going on from %d",
        topic,
        partition,
        start,
        end - 1,
        end,
    )
