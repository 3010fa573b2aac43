"""The emitter: publishes changed windows to the windows topic. One worker process publishes each shard.

Shard s belongs to the worker process that holds partition `s % partitions` of the classified topic. So Kafka's consumer
group decides which process publishes a shard. In every emission interval, for each of its shards:

1. finalize the windows that the watermark has passed, and remove published windows whose end lies further back than
   their retention, measured from the latest event time of the slowest partition (idle ones included);
2. read the dirty windows (changed since they were last published) of the sizes that are due (`windows.pacing`);
3. publish them in a transaction;
4. clear the dirty marks of those that have not changed since step 2.

A crash between steps 3 and 4 publishes the same revisions again, which changes nothing for readers. The process takes
the shard's transactional id over before step 2. So no former owner can write after this process has read.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from faust import App
from mode import Service

from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import Outgoing
from connectors.kafka.transactional import FencedError, TransactionalProducer
from connectors.repeats import Repeats
from streams.metrics import Metrics
from streams.settings import Settings
from streams.windows.codec import to_window
from streams.windows.pacing import due
from streams.windows.store import ShardTimes, WindowStore
from streams.windows.tumbling import watermark

logger = logging.getLogger(__name__)

PUBLISH_LIMIT = 1_000
"""The most windows in one transaction: about 1 MB, and at most a second's work."""

FENCED_RETRY_S = 30.0
"""Seconds to wait before a fenced shard is taken over again within the same assignment.

It is three times the default session timeout. By then a process that has lost its partitions usually knows it."""

TRANSACTIONS_PER_SHARD = 50
"""The most transactions for one shard in an emission interval, so that its other shards are published too."""


@dataclass(frozen=True)
class _Ownership:
    """The shards of one assignment.

    Attributes:
        shards: the shards that this process publishes.
        fenced: by shard, the monotonic time at which another producer turned out to have taken it over.
        intervals: numbers the emission intervals from 0.
        producers: the producer of each shard that was taken over.
    """

    shards: frozenset[int] = frozenset()
    fenced: dict[int, float] = field(default_factory=dict)
    intervals: Iterator[int] = field(default_factory=count)
    producers: dict[int, TransactionalProducer] = field(default_factory=dict)


class Emitter(Service):  # type: ignore[misc] # mode ships no types
    """The service that publishes the windows of a worker process's shards."""

    mundane_level = "debug"  # of mode's lines about starting and stopping

    def __init__(
        self,
        app: App,
        settings: Settings,
        config: KafkaConfig,
        store: WindowStore,
        metrics: Metrics,
        *,
        applied: Callable[[int], Mapping[int, int]],
        on_set_back: Callable[[int], None],
        behind: Callable[[], bool],
        **kwargs: Any,  # noqa: ANN401 - mode's
    ) -> None:
        """Create the service.

        `app` stops if Kafka or Redis rejects a call. `behind` returns whether the process is behind; then windows are
        published less often (`pacing.due`).

        `applied` returns the offset of a shard in each partition, as far as the aggregate stage knows it. If the stored
        offset is lower, Redis was set back or emptied, and `on_set_back` is called with the shard. The next batch would
        notice this too, but a partition without new posts has no next batch.
        """
        super().__init__(**kwargs)
        self._app = app
        self._applied = applied
        self._on_set_back = on_set_back
        self._behind = behind
        self._settings = settings
        self._config = config
        self._store = store
        self._metrics = metrics
        self._repeats = Repeats()
        self._lateness_ms = int(settings.allowed_lateness_s * 1_000)
        self._ownership = _Ownership()
        self._serving = self._ownership
        self._offsets: dict[int, Mapping[int, int]] = {}
        self._interval_lock = asyncio.Lock()

    def own(self, partitions: frozenset[int]) -> None:
        """Own the shards of these partitions, and release all others with the next interval. Thread-safe."""
        partition_count = self._settings.partitions
        # A new object even for the same shards, because their producers may have been fenced in between.
        self._ownership = _Ownership(
            frozenset(shard for shard in range(self._store.shards) if shard % partition_count in partitions)
        )
        self._metrics.shards_owned.set(len(self._ownership.shards))

    def owned(self) -> frozenset[int]:
        """Returns the shards that this process publishes."""
        return self._ownership.shards

    def offsets(self, shard: int) -> Mapping[int, int]:
        """Returns the offset of a shard in each partition, as it was stored in Redis in the last interval."""
        return self._offsets.get(shard, {})

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        while not self.should_stop:
            await self.sleep(self._settings.emit_interval_ms / 1_000)
            await self.run_interval()

    async def run_interval(self) -> None:
        """Do one emission interval: expire, finalize and publish the shards of this process."""
        # mode calls `on_stop` while this task still runs. The lock makes it wait for the current interval.
        async with self._interval_lock:
            await self._emit_shards()

    async def _emit_shards(self) -> None:
        if self._serving is not self._ownership:
            await self._release(self._serving)
            self._serving = self._ownership
        serving = self._serving
        if not await self._refresh():
            return
        interval = next(serving.intervals)
        sizes = due(self._store.sizes, interval, behind=self._behind())
        if not sizes:
            return
        for shard in sorted(serving.shards):
            if time.monotonic() < serving.fenced.get(shard, -math.inf) + FENCED_RETRY_S:
                continue
            try:
                await self._emit(shard, serving, sizes)
            except FencedError as exc:
                # Either another process owns the shard now, and the next assignment will say so. Or a former owner
                # started its take-over before this assignment and finished after ours. Then this process still owns
                # the shard, and takes it over again after `FENCED_RETRY_S`.
                self._metrics.emit_failures.labels("fenced").inc()
                serving.fenced[shard] = time.monotonic()
                logger.warning("no longer publishing shard %d: %s", shard, exc)
                await self._close_producer(shard, serving)
            except UnavailableError as exc:
                self._metrics.emit_failures.labels("unavailable").inc()
                if self._repeats.due(shard):
                    logger.warning("publishing shard %d failed, trying again: %s", shard, exc)
                await self._close_producer(shard, serving)
            except ConnectorError as exc:
                self._metrics.emit_failures.labels("rejected").inc()
                await self._app.crash(exc)
                raise
            else:
                self._repeats.end(shard)

    async def _refresh(self) -> bool:
        """Switch to the current generation of the window tables. Returns False if Redis did not answer.

        A process that owns no shard does this too, because its aggregate stage uses the same store.
        """
        try:
            self._metrics.generation.set(await self._store.refresh())
        except UnavailableError as exc:
            self._metrics.emit_failures.labels("unavailable").inc()
            if self._repeats.due("generation"):
                logger.warning("reading the current generation failed, trying again: %s", exc)
            return False
        except ConnectorError as exc:
            self._metrics.emit_failures.labels("rejected").inc()
            await self._app.crash(exc)
            raise
        self._repeats.end("generation")
        return True

    async def _emit(self, shard: int, serving: _Ownership, sizes: Sequence[int]) -> None:
        if serving is not self._ownership:
            return  # there is a new assignment, and taking the id over now would fence the new owner
        if shard not in serving.producers:
            serving.producers[shard] = await asyncio.to_thread(
                TransactionalProducer, self._config, f"{self._settings.group_prefix}-windows-{shard}"
            )
        producer = serving.producers[shard]
        applied = dict(self._applied(shard))  # read before Redis, where offsets can only rise in between
        tables = self._store.at(self._store.generation)
        times = await tables.times(shard)
        self._offsets[shard] = times.offsets
        if times.sealed:
            return
        if any(times.offsets.get(partition, -1) < offset for partition, offset in applied.items()):
            self._on_set_back(shard)
            return
        # Step 1: finalize and remove.
        finalized = await self._advance(tables, shard, times, serving)
        if times.dirty or finalized:
            await self._publish(tables, shard, producer, serving, sizes)

    async def _publish(
        self,
        tables: WindowStore,
        shard: int,
        producer: TransactionalProducer,
        serving: _Ownership,
        sizes: Sequence[int],
    ) -> None:
        """Do the steps 2 to 4 until no dirty window of these sizes is left."""
        for _ in range(TRANSACTIONS_PER_SHARD):
            if serving is not self._ownership:
                return
            # Step 2: read the dirty windows.
            rows = await tables.dirty(shard, PUBLISH_LIMIT, sizes)
            if not rows:
                return
            topic = self._settings.topic_windows
            windows = [to_window(key, row) for key, row in rows if row]
            records = [Outgoing(topic, window.to_json(), window.key.encode()) for window in windows]
            # Step 3: publish them.
            if records:
                await asyncio.to_thread(producer.publish, records)
            # Step 4: clear their marks.
            await tables.clear_dirty(shard, rows)
            self._metrics.published.inc(len(records))
            if len(rows) < PUBLISH_LIMIT:
                return

    async def _advance(self, tables: WindowStore, shard: int, times: ShardTimes, serving: _Ownership) -> bool:
        """Do step 1: finalize the windows that the watermark has passed, and remove those out of the retention.

        There may be a million of them. If the shards are released meanwhile, the next owner goes on. Returns whether
        windows were finalized; these are dirty.
        """
        live = [p for p, idle_s in times.idle_s.items() if idle_s < self._settings.idle_partition_s]
        now = watermark(times.events, live, self._lateness_ms)
        if now is None:
            return False
        if times.watermark is not None:
            now = max(now, times.watermark)
        self._metrics.watermark.labels(str(shard)).set(now / 1_000)
        finalized = False
        if times.first_open is not None and times.first_open <= now:
            while serving is self._ownership and await tables.finalize(shard, now):
                finalized = True
        elif times.watermark != now:
            await tables.note_watermark(shard, now)
        # The slowest partition decides, even if it is idle: its next posts must still find their windows.
        slowest = min(times.events.values())
        for size in self._settings.window_sizes:
            before = slowest - size.kept_ms
            if times.first_kept.get(size.seconds, math.inf) <= before:
                while serving is self._ownership and await tables.expire(shard, size.seconds, before):
                    pass
        return finalized

    async def _close_producer(self, shard: int, ownership: _Ownership) -> None:
        producer = ownership.producers.pop(shard, None)
        if producer is not None:
            await asyncio.to_thread(producer.close)

    async def _release(self, ownership: _Ownership) -> None:
        for shard in list(ownership.producers):
            await self._close_producer(shard, ownership)

    async def on_stop(self) -> None:
        """Release all shards after the current interval. Dirty windows keep their marks for the next owner."""
        self._ownership = _Ownership()
        async with self._interval_lock:
            await self._release(self._serving)
