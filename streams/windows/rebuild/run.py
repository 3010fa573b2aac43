"""Rebuilds the window tables while workers run: `emostream windows rebuild`.

1. Take a lease, so that there is one rebuild at a time. Survey what Kafka and Postgres hold. Initialise empty window
   tables, the next generation.
2. Count the rows of Postgres and then the records of Kafka, up to the positions of the current tables. Repeat for the
   posts that came in the meantime, until few are left.
3. Seal the current tables, so that nothing in them changes.
4. Count up to exactly their positions.
5. Carry over the windows that were not recounted, and reconcile those that were (`carrying`).
6. Switch: make the rebuilt tables the current ones. Workers and readers use them from their next refresh on.
7. Remove the old tables.

Until step 6 the old tables are the current ones. If the rebuild is killed before, it leaves unused tables, which the
next rebuild removes. Its seal runs out by itself, and then the workers go on with the old tables. Positions are part of
the window tables, so each worker continues at the positions of the tables that are current.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from connectors.errors import UnavailableError
from connectors.kafka.offsets import OffsetReader, start_offset
from streams.connections import kafka_config
from streams.errors import InputError, RebuildRefusedError
from streams.settings import Settings
from streams.windows.rebuild.carrying import Carrier
from streams.windows.rebuild.counting import Recount
from streams.windows.rebuild.editor import TableEditor
from streams.windows.rebuild.leases import Leases
from streams.windows.rebuild.posts import PartitionSurvey, PostReader
from streams.windows.rebuild.scope import Scope, target_of
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey

logger = logging.getLogger(__name__)

LEASE_MS = 60_000
"""How long the lease of a rebuild lasts without a renewal. After that, another rebuild may start.

It is far above any pause of a running process."""

SEAL_MS = 30_000
"""How long a seal lasts without a renewal: the longest time that workers wait for a rebuild that was killed."""

RENEW_S = 2.0
"""Seconds between two renewals of the leases."""

MAX_LAG_AT_SEAL = 5_000
"""The most posts that may be left to count when the old tables are sealed: less than a second's work."""

OnProgress = Callable[[str, int, int], None]
"""Called with the step (`counting`, `sealed` or `switched`), the posts read so far, and the total."""


class RebuildStoppedError(Exception):
    """The caller stopped the rebuild. The old window tables are still the current ones."""


@dataclass
class Summary:
    """The result of a rebuild.

    Attributes:
        posts: number of posts read from Postgres and Kafka.
        windows: number of windows in the rebuilt tables.
        changed: number of windows that differed, were missing, or are empty now. They are published again.
        empty: number of changed windows that have no post; the old tables had them wrongly.
        seconds: how long the rebuild took.
        sealed_seconds: how long the workers had to wait.
        generation: the generation of the rebuilt tables.
    """

    posts: int
    windows: int
    changed: int
    empty: int
    seconds: float
    sealed_seconds: float
    generation: int


@dataclass
class _Rebuild:
    """One rebuild, whose lease is taken.

    Attributes:
        since, until, progress, stopped: see `rebuild`.
        surveys: what Kafka and Postgres hold of each partition.
        sealed_at: monotonic time of the seal; None before step 3.
        total: number of posts to read, as far as it is known.
    """

    settings: Settings
    leases: Leases
    posts: PostReader
    since: int | None
    until: int | None
    progress: OnProgress
    stopped: Callable[[], bool]
    surveys: list[PartitionSurvey] = field(default_factory=list)
    sealed_at: float | None = None
    total: int = 0

    @property
    def old(self) -> TableEditor:
        return self.leases.tables

    async def run(self) -> Summary:
        """Do all steps, and renew the leases meanwhile."""
        renewal = asyncio.create_task(self._renew_leases())
        try:
            return await self._run(renewal)
        finally:
            renewal.cancel()
            with suppress(asyncio.CancelledError, RebuildRefusedError):
                await renewal

    async def _renew_leases(self) -> None:
        """Renew the leases until cancelled.

        Raises:
            RebuildRefusedError: A lease was lost.
        """
        while True:
            await asyncio.sleep(RENEW_S)
            with suppress(UnavailableError):  # the next renewal may succeed in time
                await self.leases.renew()
                if self.sealed_at is not None:
                    await self.leases.seal("renew")

    async def _run(self, renewal: asyncio.Task[None]) -> Summary:
        started = time.monotonic()
        # Step 1: survey, and initialise empty tables.
        self.surveys = [
            await asyncio.to_thread(self.posts.survey, partition) for partition in range(self.settings.partitions)
        ]
        scope = await self._scope()
        rebuilt = await self.leases.new_generation()
        try:
            for shard in range(rebuilt.shards):
                await rebuilt.initialise(shard, scope.complete_from)

            async def on_page() -> None:
                if renewal.done():
                    renewal.result()  # raises, because a lease was lost
                if self.stopped():
                    raise RebuildStoppedError
                step = "counting" if self.sealed_at is None else "sealed"
                self.progress(step, recount.read, max(self.total, recount.read))

            recount = Recount(self.settings, rebuilt, self.posts, scope, on_page)
            # Step 2: count up to near the positions of the current tables.
            await self._count(recount)
            # Step 3: seal the current tables.
            await self.leases.seal()
            self.sealed_at = time.monotonic()
            self.progress("sealed", recount.read, self.total)
            # Step 4: count up to exactly their positions.
            for survey, targets in (await self._targets()).items():
                await recount.count_records(survey, targets)
            # Step 5: carry over.
            carried = await Carrier(self.old, rebuilt, recount, on_page).run()
            # Step 6: switch.
            await self._verify(rebuilt)
            await self.leases.switch(rebuilt)
        except BaseException:
            await self._undo(rebuilt)
            raise
        self.progress("switched", recount.read, recount.read)
        sealed_seconds = time.monotonic() - self.sealed_at
        # Step 7: remove the old tables.
        await self.leases.retire()
        return Summary(
            posts=recount.read,
            windows=carried.windows,
            changed=carried.changed,
            empty=carried.emptied,
            seconds=round(time.monotonic() - started, 3),
            sealed_seconds=round(sealed_seconds, 3),
            generation=rebuilt.generation,
        )

    async def _scope(self) -> Scope:
        """Decide which windows are recounted.

        Raises:
            InputError: There is no post to count, or a range was given and the window tables are empty.
        """
        states = [await self.old.state(shard) for shard in range(self.old.shards)]
        initialised = all("complete_from" in state for state in states)
        complete_from = max(survey.complete_from for survey in self.surveys)
        if self.since is not None or self.until is not None:
            if not initialised:
                raise InputError("the window tables are empty: rebuild them without --from and --to")
            complete_from = max(complete_from, *(int(state["complete_from"]) for state in states))
        held = [survey for survey in self.surveys if survey.rows or survey.reached_ms is not None]
        if not held:
            raise InputError("there is nothing to rebuild: neither Kafka nor PostgreSQL holds a classified post")
        sizes = self.settings.window_sizes
        if initialised:
            expired_to = {
                size.seconds: max(int(state.get(f"expired_to:{size.seconds}", -1)) for state in states)
                for size in sizes
            }
        else:
            # Otherwise the rebuild would create windows for all that Postgres holds, and they would expire at once.
            slowest = min(survey.reached_ms for survey in held if survey.reached_ms is not None)
            expired_to = {size.seconds: slowest - size.kept_ms for size in sizes}
        remaining: set[WindowKey] = set()
        for shard in range(self.old.shards):
            for size, to in expired_to.items():
                remaining.update(await self.old.ended(shard, size, to))
        return Scope(complete_from, self.since, self.until, expired_to, frozenset(remaining))

    async def _count(self, recount: Recount) -> None:
        """Do step 2."""
        rows = sum(survey.rows for survey in self.surveys)
        ends = {survey: min(targets) for survey, targets in (await self._targets()).items()}
        self.total = rows + sum(max(0, end - survey.low) for survey, end in ends.items())
        for survey in self.surveys:
            await recount.count_rows(survey)
        left_before: float = float("inf")
        while True:
            # Until the seal, all shards are counted to the same offset, so that each record is read once.
            for survey, end in ends.items():
                await recount.count_records(survey, [end] * self.old.shards)
            ends = {survey: min(targets) for survey, targets in (await self._targets()).items()}
            left = sum(recount.lag(survey, end) for survey, end in ends.items())
            self.total = recount.read + left
            # If workers count about as fast as this rebuild, repeating does not help. They wait for the rest in step 4.
            if left <= MAX_LAG_AT_SEAL or left > left_before / 2:
                return
            left_before = left

    async def _targets(self) -> Mapping[PartitionSurvey, list[int]]:
        """Returns up to which offset each shard is counted, by partition.

        Raises:
            PositionError: A position of the current tables is above the end of the topic.
        """
        partitions = [survey.partition for survey in self.surveys]
        shards = range(self.old.shards)
        positions = await asyncio.gather(*(self.old.positions(shard, partitions) for shard in shards))
        initialised = await asyncio.gather(*(self.old.is_initialised(shard) for shard in shards))
        targets = {}
        for survey in self.surveys:
            end = await asyncio.to_thread(self.posts.end, survey.partition)
            offsets = [position[survey.partition].offset for position in positions]
            start_offset(self.settings.topic_classified, survey.partition, max(offsets), (survey.low, end), None)
            targets[survey] = [
                target_of(offset, end, initialised=is_set) for offset, is_set in zip(offsets, initialised, strict=True)
            ]
        return targets

    async def _verify(self, rebuilt: TableEditor) -> None:
        """Check that no server has lost its last seconds: every shard has the field that was written last.

        Raises:
            RebuildRefusedError: A server has lost what was written.
        """
        for shard in range(rebuilt.shards):
            if "rebuilt_at" not in await rebuilt.state(shard):
                raise RebuildRefusedError("Redis lost rebuilt windows; the old ones stay in use, run the rebuild again")

    async def _undo(self, rebuilt: TableEditor) -> None:
        """Remove the seal and the rebuilt tables. If this fails, the next rebuild does it, and the seal runs out."""
        try:
            if await self.old.at(self.old.generation).refresh() == rebuilt.generation:
                logger.warning("the rebuilt windows are in use; only Redis's answer to the switch was lost")
                return
            await self.leases.unseal()
            await rebuilt.clear()
            await rebuilt.forget_garbage()
        except Exception as exc:  # noqa: BLE001 - the caller raises the error that came first
            logger.warning("the unfinished window tables were not removed; the next rebuild removes them: %s", exc)


async def rebuild(
    settings: Settings,
    store: WindowStore,
    *,
    since: int | None = None,
    until: int | None = None,
    progress: OnProgress = lambda step, done, total: None,
    stopped: Callable[[], bool] = lambda: False,
    lease_ms: int = LEASE_MS,
    seal_ms: int = SEAL_MS,
) -> Summary:
    """Recount the windows, and make the rebuilt window tables the current ones. `store` then reads them.

    If it fails before the switch, the old tables are still the current ones.

    Args:
        settings: the settings.
        store: the window tables.
        since: recount only windows that end after this time, in ms since 1970; None for no such bound.
        until: recount only windows that start before this time, in ms since 1970; None for no such bound.
        progress: called after each page, and at the seal and the switch.
        stopped: called after each page; returns whether to stop.
        lease_ms: how long the lease of the rebuild lasts without a renewal.
        seal_ms: how long a seal lasts without a renewal.

    Raises:
        InputError: There is no post to count, or a range was given and the window tables are empty.
        RebuildRefusedError: Another rebuild runs, or this one lost a lease.
        RebuildStoppedError: `stopped` returned true.
        TopologyError: The window tables were built for other settings, or the rebuilt tables were changed meanwhile.
        ConnectorError: A server did not answer, or rejected the call.
    """
    await store.check_topology(settings.partitions)
    leases = Leases(TableEditor.of(store), secrets.token_hex(8), lease_ms, seal_ms)
    await leases.take()
    reader = OffsetReader(kafka_config(settings), group=f"{settings.group_prefix}-rebuild")
    posts = PostReader(settings, reader)
    try:
        await leases.tables.refresh()
        summary = await _Rebuild(settings, leases, posts, since, until, progress, stopped).run()
        await store.refresh()
        return summary
    finally:
        await asyncio.to_thread(posts.close)
        with suppress(UnavailableError):  # the lease runs out by itself
            await leases.release()
