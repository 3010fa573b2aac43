"""Looks up where a stage resumes: at the position that its own output proves (rule 1 of docs/architecture.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import Message

from connectors.deadline import Deadline
from connectors.errors import PositionError, UnavailableError
from connectors.kafka.batch import offset_of
from connectors.kafka.offsets import OffsetReader, start_offset
from streams.metrics import Metrics
from streams.records import ClassifiedPost, Origin, OriginOnly, RecordError
from streams.settings import Settings
from streams.topology import check_assigned, check_same_topics
from streams.windows.completeness import topic_complete_from
from streams.windows.recent import Horizons, RecentPosts
from streams.windows.store import SealedError, WindowStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOKUP_S = 30.0
"""Seconds for all requests of a lookup together, to Kafka and Redis.

It is longer than the Redis client's own retries, and shorter than Kafka's maximum poll interval. To read the ids of
recent posts may take longer, as long as records come."""

CLOCKS_DIFFER_MS = 60_000
"""By how much the clocks of two brokers may differ. A partition's timestamps go back when its leader changes."""

LOOK_BACK = 1_000
"""Offsets before the last record of a partition in which a classified post is looked for."""


class ClassifyPositions:
    """Looks up positions in the raw topic: after the last origin in the same partition of the classified topic."""

    def __init__(self, reader: OffsetReader, settings: Settings, metrics: Metrics) -> None:
        self._reader = reader
        self._raw = settings.topic_raw
        self._classified = settings.topic_classified
        self._partitions = settings.partitions
        self._gap_report = _GapReport(settings.topic_raw, metrics)

    def __call__(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Returns where each partition resumes; see `connectors.kafka.consumer.PositionLookup`."""
        check_assigned(self._raw, partitions, self._partitions)
        deadline = Deadline(LOOKUP_S)
        committed = self._reader.committed(self._raw, partitions, deadline)
        last = self._reader.last_messages(self._classified, partitions, deadline)
        bounds = self._reader.all_bounds(self._raw, partitions, deadline)
        starts = {}
        never_read: list[int] = []
        for partition in partitions:
            proven = self._proven(partition, last.get(partition))
            hint = committed.get(partition)
            start = starts[partition] = start_offset(self._raw, partition, proven, bounds[partition], hint)
            # The committed offset is above the proven position if only dead letters came since.
            read = [offset for offset in (proven, hint) if offset is not None and offset <= start]
            if read:
                self._gap_report.report(partition, max(read), start)
            elif start > 0:
                never_read.append(partition)
        if never_read:
            # There is no output and no commit. Retention may have deleted both, unless there never was an output.
            outputs = self._reader.all_bounds(self._classified, never_read, deadline)
            for partition in never_read:
                if outputs[partition] == (0, 0):
                    self._gap_report.report(partition, 0, starts[partition])
        return starts

    def _proven(self, partition: int, last: Message | None) -> int | None:
        """Returns the raw offset after the last classified post of a partition; None if there is no record.

        Raises:
            PositionError: The last records were not made from posts of this partition.
        """
        if last is None:
            return None
        origin = self._origin(partition, last)
        if origin is None:
            # Others may have written to the topic. The aggregate stage makes their records dead letters.
            low, _ = self._reader.bounds(self._classified, partition)
            begin = max(low, offset_of(last) - LOOK_BACK)
            for message in self._reader.between(self._classified, partition, begin, offset_of(last)):
                origin = self._origin(partition, message) or origin
        if origin is None:
            raise PositionError(
                f"{self._classified}[{partition}]@{offset_of(last)} is not a classified post of "
                f"{self._raw}[{partition}], and neither are the {LOOK_BACK:,} records before it; only workers may "
                'write to this topic; see "A worker does not start" in docs/how-to/recover.md'
            )
        return origin.offset + 1

    def _origin(self, partition: int, message: Message) -> Origin | None:
        """Returns the origin of a record of the classified topic; None if it is not in `partition` of the raw topic."""
        found = OriginOnly.find(message.value())
        if found is None or (found.origin.topic, found.origin.partition) != (self._raw, partition):
            return None
        return found.origin


class AggregatePositions:
    """Looks up positions in the classified topic: the lowest position of the shards in the current window tables.

    Attributes:
        gaps: by partition, the offset at which reading starts, if it is higher than the position (than 0 if there is
            none) because Kafka has deleted the offsets between.
        recent_posts: by assigned partition, what finds duplicates of the records before its start; empty if duplicates
            are counted.
    """

    def __init__(
        self,
        reader: OffsetReader,
        settings: Settings,
        store: WindowStore,
        loop: asyncio.AbstractEventLoop,
        metrics: Metrics,
        *,
        topic_ids: Mapping[str, str] | None = None,
    ) -> None:
        """Create the lookup.

        `loop` is the event loop of `store`; the lookup is called in other threads. `topic_ids` has the ids of the
        topics in which the tables hold positions.
        """
        self._reader = reader
        self._raw = settings.topic_raw
        self._classified = settings.topic_classified
        self._partitions = settings.partitions
        self._max_future_ms = int(settings.max_future_s * 1_000)
        self._store = store
        self._topic_ids = topic_ids or {}
        self._loop = loop
        self._gap_report = _GapReport(settings.topic_classified, metrics)
        self._sources = settings.topic_sources
        self._horizons = Horizons.of(settings)
        self.gaps: dict[int, int] = {}
        self.recent_posts: dict[int, RecentPosts] = {}

    def __call__(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Returns where each partition resumes; see `connectors.kafka.consumer.PositionLookup`.

        Shards of empty window tables are initialised first.
        """
        check_assigned(self._classified, partitions, self._partitions)
        deadline = Deadline(LOOKUP_S)
        tables = self._await(self._current_tables(), deadline)
        if uninitialised := self._await(_uninitialised(tables), deadline):
            self._await(self._describe(tables), deadline)
            complete_from = topic_complete_from(
                self._reader, self._classified, self._partitions, self._max_future_ms, deadline
            )
            self._await(_initialise(tables, uninitialised, complete_from), deadline)
        lowest = self._await(_lowest_offsets(tables, partitions), deadline)
        bounds = self._reader.all_bounds(self._classified, partitions, deadline)
        # Asked after the bounds: if the sources have no position yet, no post of a source lies within these bounds.
        horizon_ms = self._horizon_ms(deadline)
        starts = {}
        for partition in partitions:
            proven = lowest[partition] if lowest[partition] >= 0 else None
            start = starts[partition] = start_offset(self._classified, partition, proven, bounds[partition], None)
            self.gaps.pop(partition, None)
            if start > (proven or 0):
                self.gaps[partition] = start
                self._gap_report.report(partition, proven or 0, start)
            if (recent := self._horizons.begin(start)) is not None:
                if horizon_ms:
                    self._read_recent(recent, partition, start, bounds[partition], horizon_ms)
                self.recent_posts[partition] = recent
        # Another process has these partitions by now, and remembers their ids.
        for partition in self.recent_posts.keys() - set(partitions):
            del self.recent_posts[partition]
        return starts

    def _horizon_ms(self, deadline: Deadline) -> int:
        """Returns for how many milliseconds before a start there may be ids that must be known; 0 for none."""
        horizons = self._horizons
        if horizons.sources == horizons.others:
            return horizons.others
        # A source stores a position before it sends its first post.
        ends = self._reader.all_bounds(self._sources, [0], deadline)
        return horizons.sources if ends[0][1] > 0 else horizons.others

    def _read_recent(
        self, recent: RecentPosts, partition: int, start: int, bounds: tuple[int, int], horizon_ms: int
    ) -> None:
        """Add the classified posts in the horizon before `start`."""
        low, _ = bounds
        if start > low:
            last = next(self._reader.between(self._classified, partition, start - 1, start), None)
            since = last.timestamp()[1] - horizon_ms - CLOCKS_DIFFER_MS if last is not None else 0
            begin = self._reader.offset_at(self._classified, partition, max(0, since))
            for message in self._reader.between(self._classified, partition, low if begin is None else begin, start):
                if recent.remembers(message.key()):
                    with suppress(RecordError):
                        ClassifiedPost.from_partition(message.value(), self._raw, partition)
                        recent.add(offset_of(message), message.key(), message.timestamp()[1])
        recent.offset = start

    def _await(self, reading: Coroutine[Any, Any, T], deadline: Deadline) -> T:
        """Run a coroutine of the store in its event loop, and return the result.

        Raises:
            UnavailableError: It was not done by the deadline.
        """
        future = asyncio.run_coroutine_threadsafe(reading, self._loop)
        left_s = deadline.left_s
        try:
            return future.result(left_s)
        except TimeoutError as exc:
            future.cancel()
            raise UnavailableError(
                f"Redis did not answer while reading positions: it had {left_s:.0f} s, after Kafka, of {LOOKUP_S:.0f} s"
            ) from exc

    async def _describe(self, tables: WindowStore) -> None:
        """Store again for which shards, partitions, sizes and topics the tables are: Redis may have been emptied.

        Raises:
            TopologyError: Another process has stored others meanwhile.
        """
        await tables.check_topology(self._partitions)
        check_same_topics(await tables.changed_topics(self._topic_ids), "Redis")

    async def _current_tables(self) -> WindowStore:
        """Returns the window tables of the current generation.

        Raises:
            SealedError: The tables are sealed for the switch to rebuilt ones.
        """
        tables = self._store.at(await self._store.refresh())
        if any(await asyncio.gather(*(tables.sealed(shard) for shard in range(tables.shards)))):
            raise SealedError
        return tables


async def _uninitialised(tables: WindowStore) -> list[int]:
    """Returns the shards that are not initialised."""
    initialised = await asyncio.gather(*(tables.is_initialised(shard) for shard in range(tables.shards)))
    return [shard for shard, done in enumerate(initialised) if not done]


async def _initialise(tables: WindowStore, shards: Sequence[int], complete_from: int) -> None:
    """Initialise shards."""
    await asyncio.gather(*(tables.initialise(shard, complete_from) for shard in shards))


async def _lowest_offsets(tables: WindowStore, partitions: Sequence[int]) -> dict[int, int]:
    """Returns the lowest offset of the shards in each partition; -1 if a shard has none."""
    shards = await asyncio.gather(*(tables.positions(shard, partitions) for shard in range(tables.shards)))
    return {partition: min(shard[partition].offset for shard in shards) for partition in partitions}


class _GapReport:
    """Counts and logs gaps: offsets of a topic that Kafka deleted before they were read.

    A lookup finds a gap again until the stage's output has passed it, for example at a rebalance. Each gap is reported
    once.
    """

    def __init__(self, topic: str, metrics: Metrics) -> None:
        self._topic = topic
        self._metrics = metrics
        self._reported: dict[int, int] = {}  # by partition, the end of the last gap

    def report(self, partition: int, start: int, end: int) -> None:
        """Report the part of the offsets from `start` to below `end` that was not reported before."""
        start = max(start, self._reported.get(partition, 0))
        if start >= end:
            return
        self._reported[partition] = end
        self._metrics.gap_offsets.labels(self._topic).inc(end - start)
        logger.error(
            "%s[%d]: offsets %d to %d left Kafka's retention before they were read; reading continues at %d",
            self._topic,
            partition,
            start,
            end - 1,
            end,
        )
