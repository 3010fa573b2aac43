"""Rebuilds the window tables while workers run: `emostream windows rebuild`.

1. Become the one rebuild; survey what Kafka and Postgres hold; begin empty tables, the next generation.
2. Count the rows of Postgres, then Kafka's records, up to where the tables in force stand; repeat for what came
   meanwhile, until little is left.
3. Seal the tables in force, so that nothing in them changes.
4. Count up to exactly where they stand.
5. Carry over what was not counted anew, and compare what was.
6. Put the rebuilt tables in force: from their next look at the pointer on, workers and readers use them.
7. Remove the old tables.

Up to step 6 the old tables are in force, and whoever kills the rebuild leaves but garbage, which the next one removes.
The seal runs out by itself: then the workers go on with the old tables. Positions are part of the tables, so that
counting goes on where the tables in force stand, whichever they are.
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

LOCK_MS = 60_000
"""Without a sign of life for this long, another rebuild may begin. Far above any pause of a process that lives."""

SEAL_MS = 30_000
"""For this long at most the workers wait for a rebuild that was killed; the switch takes seconds."""

RENEW_S = 2.0
"""Pace of the signs of life."""

MAX_LAG_AT_SEAL = 5_000
"""Posts that may be left when the old tables are sealed: less than a second's work."""

OnProgress = Callable[[str, int, int], None]
"""Told the step (`counting`, `sealed`, `switched`), posts read so far, and posts in all."""


class RebuildStoppedError(Exception):
    """The user stopped it; the old tables are in force."""


@dataclass
class Summary:
    """What was done.

    Attributes:
        posts: read from Postgres and Kafka.
        windows: in the rebuilt tables.
        changed: of these, the ones that differed, were missing, or are empty now; they are published again.
        empty: of the changed ones, those without a post: the old tables had them without reason.
        seconds: that it took; `sealed_seconds` of them the workers waited.
        generation: the number of the rebuilt tables.
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
        """All steps; the lease of the first is taken."""
        renewal = asyncio.create_task(self._renew_leases())
        try:
            return await self._run(renewal)
        finally:
            renewal.cancel()
            with suppress(asyncio.CancelledError, RebuildRefusedError):
                await renewal

    async def _renew_leases(self) -> None:
        """Give signs of life; ends with an error where a lease was lost."""
        while True:
            await asyncio.sleep(RENEW_S)
            with suppress(UnavailableError):  # the next one may come in time
                await self.leases.renew_lock()
                if self.sealed_at is not None:
                    await self.leases.seal("renew")

    async def _run(self, renewal: asyncio.Task[None]) -> Summary:
        started = time.monotonic()
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
                    renewal.result()  # a lease was lost
                if self.stopped():
                    raise RebuildStoppedError
                step = "counting" if self.sealed_at is None else "sealed"
                self.progress(step, recount.read, max(self.total, recount.read))

            recount = Recount(self.settings, rebuilt, self.posts, scope, on_page)
            await self._count(recount)
            await self.leases.seal()
            self.sealed_at = time.monotonic()
            self.progress("sealed", recount.read, self.total)
            for survey, targets in (await self._targets()).items():
                await recount.count_records(survey, targets)
            carried = await Carrier(self.old, rebuilt, recount, on_page).run()
            await self._verify(rebuilt)
            await self.leases.switch(rebuilt)
        except BaseException:
            await self._undo(rebuilt)
            raise
        self.progress("switched", recount.read, recount.read)
        sealed_seconds = time.monotonic() - self.sealed_at
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
            # Or tables of all that Postgres ever saw would be made, to be removed at once.
            slowest = min(survey.reached_ms for survey in held if survey.reached_ms is not None)
            expired_to = {size.seconds: slowest - size.kept_ms for size in sizes}
        remaining: set[WindowKey] = set()
        for shard in range(self.old.shards):
            for size, to in expired_to.items():
                remaining.update(await self.old.ended(shard, size, to))
        return Scope(complete_from, self.since, self.until, expired_to, frozenset(remaining))

    async def _count(self, recount: Recount) -> None:
        """Step 2."""
        rows = sum(survey.rows for survey in self.surveys)
        ends = {survey: min(targets) for survey, targets in (await self._targets()).items()}
        self.total = rows + sum(max(0, end - survey.low) for survey, end in ends.items())
        for survey in self.surveys:
            await recount.count_rows(survey)
        left_before: float = float("inf")
        while True:
            # All shards stand at one offset, until they are sealed: a record is decided on once.
            for survey, end in ends.items():
                await recount.count_records(survey, [end] * self.old.shards)
            ends = {survey: min(targets) for survey, targets in (await self._targets()).items()}
            left = sum(recount.lag(survey, end) for survey, end in ends.items())
            self.total = recount.read + left
            # Workers that are faster than we are have to wait in the end.
            if left <= MAX_LAG_AT_SEAL or left > left_before / 2:
                return
            left_before = left

    async def _targets(self) -> Mapping[PartitionSurvey, list[int]]:
        """Up to which offset each shard is to be counted anew, by partition.

        Raises:
            PositionError: the tables stand beyond the end of the topic.
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
        """What was written last is there on every shard, and so is all before it: no server has lost its last seconds.

        Raises:
            RebuildRefusedError: one has.
        """
        for shard in range(rebuilt.shards):
            if "rebuilt_at" not in await rebuilt.state(shard):
                raise RebuildRefusedError("Redis lost what was rebuilt; the old tables are in force, run it again")

    async def _undo(self, rebuilt: TableEditor) -> None:
        """Leave nothing behind: what cannot be removed now the next rebuild removes, and the seal runs out."""
        try:
            if await self.old.at(self.old.generation).refresh() == rebuilt.generation:
                logger.warning("the rebuilt tables are in force; only the answer that says so was lost")
                return
            await self.leases.unseal()
            await rebuilt.clear()
            await rebuilt.forget_garbage()
        except Exception as exc:  # noqa: BLE001 - the first error is the one to tell
            logger.warning("the half-made tables were not removed, the next rebuild does it: %s", exc)


async def rebuild(
    settings: Settings,
    store: WindowStore,
    *,
    since: int | None = None,
    until: int | None = None,
    progress: OnProgress = lambda step, done, total: None,
    stopped: Callable[[], bool] = lambda: False,
    lock_ms: int = LOCK_MS,
    seal_ms: int = SEAL_MS,
) -> Summary:
    """Count the windows anew and put the result in force; `store` reads it from then on.

    Args:
        settings: all settings.
        store: the window tables.
        since: count only windows that end after this time, in ms since 1970; None for no such bound.
        until: count only windows that start before this time, in ms since 1970; None for no such bound.
        progress: told how far it is.
        stopped: whether to give up, asked after every page.
        lock_ms: how long others wait for a rebuild that has died.
        seal_ms: how long workers do.

    Raises:
        InputError: there is nothing to rebuild.
        RebuildRefusedError: another rebuild runs, or this one was held up; the old tables are in force.
        RebuildStoppedError: `stopped`; the old tables are in force.
        ConnectorError: a system did not answer; the old tables are in force.
    """
    await store.check_topology(settings.partitions)
    leases = Leases(TableEditor.of(store), secrets.token_hex(8), lock_ms, seal_ms)
    await leases.lock()
    reader = OffsetReader(kafka_config(settings), group=f"{settings.group_prefix}-rebuild")
    posts = PostReader(settings, reader)
    try:
        await leases.tables.refresh()
        summary = await _Rebuild(settings, leases, posts, since, until, progress, stopped).run()
        await store.refresh()
        return summary
    finally:
        await asyncio.to_thread(posts.close)
        with suppress(UnavailableError):  # it runs out
            await leases.unlock()
