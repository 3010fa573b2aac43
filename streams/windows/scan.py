"""Reads all windows of the window tables, a page at a time, and tells which windows the tables should have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from connectors.redis import redis_errors
from streams.windows.reader import Row, WindowReader

_PAGE = 1_000
"""Names of windows that are read at once. Their fields are read in smaller pages."""


@dataclass(frozen=True)
class TableBounds:
    """The bounds between which the tables have every window, in all shards.

    Attributes:
        complete_from: windows that start before this event time, in ms since 1970, may be missing or incomplete.
        expired_to: by size in seconds, windows that end at or before this event time may have been removed.
    """

    complete_from: int
    expired_to: dict[int, int]


class WindowScan(WindowReader):
    """Reads all windows of one generation."""

    @classmethod
    def of(cls, reader: WindowReader) -> Self:
        """Returns a scan of the reader's tables, over the reader's connection. Only the reader closes it."""
        scan = cls(reader._redis, prefix=reader._prefix, shards=reader.shards, sizes=reader.sizes)
        scan.generation = reader.generation
        return scan

    async def bounds(self) -> TableBounds:
        """Returns the bounds of the tables as they are now."""
        complete_from, expired_to = 0, dict.fromkeys(self.sizes, -1)
        for shard in range(self.shards):
            with redis_errors("reading the window tables"):
                state: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
            complete_from = max(complete_from, int(state.get("complete_from", 0)))
            for size in self.sizes:
                expired_to[size] = max(expired_to[size], int(state.get(f"expired_to:{size}", -1)))
        return TableBounds(complete_from, expired_to)

    async def rows(self, size: int) -> AsyncIterator[list[Row]]:
        """Yields the windows of a size, shard by shard and the latest first.

        A window that exists during the whole scan comes exactly once, if no window is created or removed meanwhile.
        """
        for shard in range(self.shards):
            async for page in self._pages(self._index(shard, size), _PAGE):
                with redis_errors("reading windows"):
                    rows = await self._read_rows(shard, [member for member, _ in page])
                yield [(key, row) for key, row in rows if row]
