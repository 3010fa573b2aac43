"""Publishes changed windows to the windows topic; each shard by one worker, the owner of a partition.

Shard s belongs to whoever holds partition `s % partitions` of the classified topic, so Kafka's consumer group decides
and nothing else does. For each of its shards, in the rounds of `windows.pacing`: 1. finalize what the watermark has
passed; 2. read the dirty windows of the sizes whose turn it is; 3. publish them in a transaction; 4. clear the marks of
those that have not changed since 2. A crash between 3 and 4 publishes the same revision again. Taking the transactional
id over comes before step 2, so no older owner can write after we have read.
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
from streams.metrics import Metrics
from streams.settings import Settings
from streams.windows.codec import to_window
from streams.windows.pacing import due
from streams.windows.store import ShardTimes, WindowStore
from streams.windows.tumbling import watermark

logger = logging.getLogger(__name__)

PUBLISH_LIMIT = 1_000
"""Windows in one transaction: about 1 MB, and a second's work at most."""

FENCED_RETRY_S = 30.0
"""Before a fenced shard is taken over again within one assignment: several session timeouts, so that whoever only
believes to own it has learnt better by then."""

TRANSACTIONS_PER_SHARD = 50
"""Transactions per shard before the next shard has its turn."""


@dataclass(frozen=True)
class _Ownership:
    """The shards of one assignment. `fenced` tells when one turned out to be held by somebody else; `rounds` counts."""

    shards: frozenset[int] = frozenset()
    fenced: dict[int, float] = field(default_factory=dict)
    intervals: Iterator[int] = field(default_factory=count)
    producers: dict[int, TransactionalProducer] = field(default_factory=dict)


class Emitter(Service):  # type: ignore[misc] # mode ships no types
    """The emission loop of one worker."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        config: KafkaConfig,
        store: WindowStore,
        metrics: Metrics,
        *,
        applied: Callable[[int], Mapping[int, int]],
        on_rollback: Callable[[int], None],
        behind: Callable[[], bool],
        **kwargs: Any,  # noqa: ANN401 - mode's
    ) -> None:
        """Prepare the loop.

        Args:
            app: the application, crashed where Kafka refuses for good.
            settings: all settings.
            config: how to reach Kafka.
            store: the window tables.
            metrics: where everything is counted.
            applied: the offsets by partition that a shard is known to have.
            on_rollback: told a shard that has less than that: Redis was rolled back or emptied. A batch would notice,
                but a partition that gets no more posts has none.
            behind: whether this worker is; then windows have their turn more rarely (`pacing.due`).
            kwargs: for `mode.Service`.
        """
        super().__init__(**kwargs)
        self._app = app
        self._applied = applied
        self._on_rollback = on_rollback
        self._behind = behind
        self._settings = settings
        self._config = config
        self._store = store
        self._metrics = metrics
        self._lateness_ms = int(settings.allowed_lateness_s * 1_000)
        self._ownership = _Ownership()
        self._serving = self._ownership
        self._ticking = asyncio.Lock()

    def own(self, partitions: frozenset[int]) -> None:
        """Take over the shards that belong to these partitions and let go of all others. Thread-safe."""
        in_all = self._settings.partitions
        # Always a new object: a producer of an earlier assignment may have been fenced since.
        self._ownership = _Ownership(
            frozenset(shard for shard in range(self._store.shards) if shard % in_all in partitions)
        )
        self._metrics.shards_owned.set(len(self._ownership.shards))

    def owned(self) -> frozenset[int]:
        """The shards that this worker publishes."""
        return self._ownership.shards

    @Service.task  # type: ignore[untyped-decorator]
    async def _run(self) -> None:
        while not self.should_stop:
            await self.sleep(self._settings.emit_interval_ms / 1_000)
            await self._tick()

    async def _tick(self) -> None:
        # mode calls on_stop while this task still runs.
        async with self._ticking:
            await self._serve_shards()

    async def _serve_shards(self) -> None:
        if self._serving is not self._ownership:
            await self._let_go(self._serving)
            self._serving = self._ownership
        serving = self._serving
        if not await self._follow_tables():
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
                # Another worker owns the shard by now, and the next assignment will say so; or a former owner's
                # take-over, begun before the assignment, overtook ours. Then it is ours to take again, in a while.
                self._metrics.emit_failures.labels("fenced").inc()
                serving.fenced[shard] = time.monotonic()
                logger.warning("no longer publishing shard %d: %s", shard, exc)
                await self._drop(shard, serving)
            except UnavailableError as exc:
                self._metrics.emit_failures.labels("unavailable").inc()
                logger.warning("publishing shard %d failed, trying again: %s", shard, exc)
                await self._drop(shard, serving)
            except ConnectorError as exc:
                self._metrics.emit_failures.labels("refused").inc()
                await self._app.crash(exc)
                raise

    async def _follow_tables(self) -> bool:
        """Turn to the tables that are in force; a worker that owns no shard counts into them as well."""
        try:
            self._metrics.generation.set(await self._store.refresh())
        except UnavailableError as exc:
            self._metrics.emit_failures.labels("unavailable").inc()
            logger.warning("publishing failed, trying again: %s", exc)
            return False
        except ConnectorError as exc:
            self._metrics.emit_failures.labels("refused").inc()
            await self._app.crash(exc)
            raise
        return True

    async def _emit(self, shard: int, serving: _Ownership, sizes: Sequence[int]) -> None:
        if serving is not self._ownership:
            return  # taking the id over now would fence the new owner
        if shard not in serving.producers:
            serving.producers[shard] = await asyncio.to_thread(
                TransactionalProducer, self._config, f"{self._settings.group_prefix}-windows-{shard}"
            )
        producer = serving.producers[shard]
        applied = dict(self._applied(shard))  # before Redis is read: it may only get ahead meanwhile
        tables = self._store.at(self._store.generation)
        times = await tables.times(shard)
        if times.sealed:
            return
        if any(times.offsets.get(partition, -1) < offset for partition, offset in applied.items()):
            self._on_rollback(shard)
            return
        await self._advance(tables, shard, times)
        for _ in range(TRANSACTIONS_PER_SHARD):
            if serving is not self._ownership:
                return
            rows = await tables.dirty(shard, PUBLISH_LIMIT, sizes)
            if not rows:
                return
            topic = self._settings.topic_windows
            windows = [to_window(key, row) for key, row in rows if row]
            records = [Outgoing(topic, window.to_json(), window.key.encode()) for window in windows]
            if records:
                await asyncio.to_thread(producer.publish, records)
            await tables.clear_dirty(shard, rows)
            self._metrics.published.inc(len(records))
            if len(rows) < PUBLISH_LIMIT:
                return

    async def _advance(self, tables: WindowStore, shard: int, times: ShardTimes) -> None:
        """Finalize windows that the watermark has passed; expire those beyond the retention."""
        live = [p for p, idle_s in times.idle_s.items() if idle_s < self._settings.idle_partition_s]
        now = watermark(times.events, live, self._lateness_ms)
        if now is None:
            return
        if times.watermark is not None:
            now = max(now, times.watermark)
        self._metrics.watermark.labels(str(shard)).set(now / 1_000)
        if times.first_open is None or times.first_open > now:
            await tables.note_watermark(shard, now)
        else:
            while await tables.finalize(shard, now):
                pass
        # By the slowest partition, idle or not: a post it still brings may not find its window gone.
        slowest = min(times.events.values())
        for size in self._settings.window_sizes:
            before = slowest - size.kept_ms
            if times.first_kept.get(size.seconds, math.inf) <= before:
                while await tables.expire(shard, size.seconds, before):
                    pass

    async def _drop(self, shard: int, ownership: _Ownership) -> None:
        producer = ownership.producers.pop(shard, None)
        if producer is not None:
            await asyncio.to_thread(producer.close)

    async def _let_go(self, ownership: _Ownership) -> None:
        for shard in list(ownership.producers):
            await self._drop(shard, ownership)

    async def on_stop(self) -> None:
        """Let go of every shard, after the publication in hand. What is dirty stays marked for the next owner."""
        self._ownership = _Ownership()
        async with self._ticking:
            await self._let_go(self._serving)
