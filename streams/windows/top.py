"""Reads the keywords with the most posts in the latest window of the longest size, by default a day.

Redis keeps these windows sorted (`top`, see `reader`), so the time that a read takes depends on the number of keywords
that it returns, and not on the number of windows.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from connectors.redis import redis_errors
from streams.records import ALL_KEYWORDS
from streams.windows.reader import Row, WindowReader, script
from streams.windows.tumbling import WindowKey

_PAGE = 250
"""Windows that one script adds to `top`."""


class _Ranked(NamedTuple):
    """A window that is among those with the most posts; the sort key comes first."""

    is_keyword: bool
    minus_posts: int
    keyword: str
    shard: int
    key: WindowKey


class TopKeywords:
    """Reads the top keywords again and again. A window that has not changed since the last read is not read again."""

    def __init__(self, store: WindowReader) -> None:
        """Create a reader of the current generation of these tables."""
        self._store = store
        self._top = store._redis.register_script(script("top"))
        self._fill_top = store._redis.register_script(script("fill_top"))
        self._generation = store.generation
        self._known: dict[WindowKey, dict[str, str]] = {}

    async def read(self, limit: int) -> list[Row]:
        """Returns the latest windows of the longest size: `*` first, then the keywords with the most posts.

        Among keywords with equally many posts, the first ones in the order of Unicode are taken. At most `limit`
        windows are returned, and none without posts.
        """
        tables = self._store.at(self._store.generation)
        with redis_errors("reading the top keywords"):
            by_shard = await asyncio.gather(*(self._top_of(tables, shard, limit) for shard in range(tables.shards)))
            end = max((at for at, _ in by_shard), default=-1)
            ranked = sorted(one for at, of_shard in by_shard if at == end for one in of_shard)[:limit]
            rows = await self._rows(tables, ranked)
        return [(one.key, rows[one.key]) for one in ranked if one.key in rows]

    async def _top_of(self, tables: WindowReader, shard: int, limit: int) -> tuple[int, list[_Ranked]]:
        """Returns the end of a shard's latest windows in ms, and the top ones; -1 and none if it has no window."""
        keys = [tables._key(shard, "state"), tables._key(shard, "top")]
        found: list[str] = await self._top(keys=keys, args=[limit])
        if not found:
            await self._fill(tables, shard)
            found = await self._top(keys=keys, args=[limit])
        if not found:
            return -1, []
        at, *flat = found
        ranked = []
        for member, score in zip(flat[::2], flat[1::2], strict=True):
            key = WindowKey.parse(member)
            ranked.append(_Ranked(key.keyword != ALL_KEYWORDS, int(score), key.keyword, shard, key))
        return int(at), ranked

    async def _rows(self, tables: WindowReader, ranked: list[_Ranked]) -> dict[WindowKey, dict[str, str]]:
        """Returns the hashes of these windows. Those with the known number of posts are not read."""
        if tables.generation != self._generation:
            self._generation, self._known = tables.generation, {}
        changed: dict[int, list[str]] = {}
        for one in ranked:
            row = self._known.get(one.key)
            if row is None or int(row["n"]) != -one.minus_posts:
                changed.setdefault(one.shard, []).append(one.key.member())
        read = await asyncio.gather(*(tables._read_rows(shard, members) for shard, members in changed.items()))
        fresh = {key: row for of_shard in read for key, row in of_shard if row}
        known = {**self._known, **fresh}
        self._known = {one.key: known[one.key] for one in ranked if one.key in known}
        return self._known

    async def _fill(self, tables: WindowReader, shard: int) -> None:
        """Fill a shard's `top`, if the shard has windows."""
        index = tables._index(shard, tables.sizes[-1])
        keys = [tables._key(shard, "state"), tables._key(shard, "top"), index]
        end: str = await self._fill_top(keys=keys, args=["begin"])
        if not end:
            return
        async for page in tables._pages(index, _PAGE):
            members = [member for member, at in page if at == int(end)]
            windows = [tables._window_key(shard, member) for member in members]
            if not await self._fill_top(keys=keys + windows, args=["add", end, *members]):
                return
            if len(members) < len(page):
                break
        await self._fill_top(keys=keys, args=["finish", end])
