"""Counts posts into rebuilt window tables, with the code of the aggregate stage."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence

from streams.errors import TopologyError
from streams.records import ALL_KEYWORDS
from streams.settings import Settings
from streams.windows.deltas import Position, ShardDeltas, reduce_entries
from streams.windows.rebuild.editor import TableEditor
from streams.windows.rebuild.posts import Page, PartitionSurvey, PostReader
from streams.windows.rebuild.scope import Action, Scope, next_end
from streams.windows.tumbling import WindowKey
from streams.windows.update import ShardUpdate


class Recount:
    """Counts the posts of each partition from its beginning.

    Attributes:
        scope: the windows that are recounted.
        read: number of rows and records that were read.
        expired: posts in windows of all posts that have left the retention, by size in seconds.
        kept: posts of each window of all posts that is not recounted.
    """

    def __init__(
        self,
        settings: Settings,
        tables: TableEditor,
        posts: PostReader,
        scope: Scope,
        on_page: Callable[[], Awaitable[None]],
    ) -> None:
        """Create the recount.

        `tables` are the rebuilt tables. They must be initialised, and only this recount may change them. `on_page` is
        called after each page of posts.
        """
        self._tables = tables
        self._posts = posts
        self.scope = scope
        self._on_page = on_page
        self._sizes = settings.window_sizes
        self._page = settings.aggregate_batch_max
        self._positions = {partition: [Position()] * tables.shards for partition in range(settings.partitions)}
        self._recent = {partition: posts.new_recent_posts() for partition in range(settings.partitions)}
        self.read = 0
        self.expired: Counter[int] = Counter()
        self.kept: Counter[WindowKey] = Counter()

    def lag(self, survey: PartitionSurvey, end: int) -> int:
        """Returns how many offsets of a partition are left to count up to `end`."""
        return max(0, end - max(survey.low, min(position.offset for position in self._positions[survey.partition])))

    async def count_rows(self, survey: PartitionSurvey) -> None:
        """Count the rows that only Postgres holds of a partition. Its position is then the first record of Kafka."""
        if survey.rows:
            await self._count(survey.partition, self._posts.rows(survey, self._recent[survey.partition], self._page))

    async def count_records(self, survey: PartitionSurvey, targets: Sequence[int]) -> None:
        """Count the records that Kafka holds of a partition, for each shard up to its target offset."""
        partition = survey.partition
        while True:
            positions = self._positions[partition]
            end = next_end([position.offset for position in positions], targets, survey.low)
            if end is None:
                return
            reached = [position.offset for position, to in zip(positions, targets, strict=True) if position.offset < to]
            start = max(survey.low, min(reached))
            shards = [shard for shard, to in enumerate(targets) if to >= end]
            pages = self._posts.records(partition, start, end, self._recent[partition], self._page)
            await self._count(partition, pages, shards)

    async def _count(self, partition: int, pages: Iterator[Page], shards: Sequence[int] | None = None) -> None:
        try:
            while (page := await asyncio.to_thread(next, pages, None)) is not None:
                positions = self._positions[partition]
                shard_deltas = await asyncio.to_thread(
                    reduce_entries, page.entries, positions=positions, end=page.end, sizes=self._sizes
                )
                wanted = range(self._tables.shards) if shards is None else shards
                await asyncio.gather(*(self._apply(partition, shard, shard_deltas[shard]) for shard in wanted))
                self.read += page.read
                await self._on_page()
        finally:
            pages.close()  # type: ignore[attr-defined] # a generator

    async def _apply(self, partition: int, shard: int, deltas: ShardDeltas) -> None:
        position = self._positions[partition][shard]
        if deltas.position == position:
            return
        self._remove_kept(deltas)
        update = ShardUpdate.of({partition: (position, deltas)})
        if await self._tables.apply(shard, update) is not None:
            # The Redis client repeats a script whose answer was lost. Then the first call has applied the update.
            found = (await self._tables.positions(shard, [partition]))[partition]
            if found != deltas.position:
                raise TopologyError(
                    f"the rebuilt tables are at offset {found.offset} of partition {partition}, not at "
                    f"{position.offset}: Redis lost data, or another rebuild has taken over; nothing has changed, "
                    "run the rebuild again"
                )
        self._positions[partition][shard] = deltas.position

    def _remove_kept(self, deltas: ShardDeltas) -> None:
        """Remove the windows that are not recounted from the deltas, and count their posts in `expired` and `kept`."""
        for key in [key for key in deltas.windows if self.scope.action_for(key) is not Action.COUNT]:
            delta = deltas.windows.pop(key)
            if key.keyword == ALL_KEYWORDS:
                if self.scope.action_for(key) is Action.EXPIRED:
                    self.expired[key.size] += delta.fields["n"]
                else:
                    self.kept[key] += delta.fields["n"]
