"""Reads the window tables in Redis.

A shard is the windows of some keywords, with the state that belongs to them. Its keys have the hash tag `{s}`, so that
it lies completely on one node of a cluster. A rebuild makes new window tables, the next generation. These are the keys
of generation 0, the first one; those of generation 3 begin with `emo:{s}:g3`:

    emo:meta                  hash    shards, partitions, sizes: what the window tables were built for
                                      generation: the current generation; 0 if absent
                                      fields of rebuilds: see `rebuild.leases`
    emo:{s}:state             hash    the position in partition N: p:N offset, f:N fence, t:N latest event time
                                      a:N: when the partition was last applied, on the server's clock
                                      complete_from: windows that start before this event time are not created, since
                                      Kafka had lost some of their posts when the shard was initialised
                                      watermark: the highest watermark so far
                                      expired_to:SIZE: windows that end at or before this event time were removed
                                      top_end: the end of the windows in `top`; top_filling: 1 until all are there
                                      sealed_until: nothing may change before this time on the server's clock; sealed_by
                                      the shard's counters of posts:
                                      late:SIZE too late for a window, expired:SIZE in removed windows of all posts,
                                      unbuilt:SIZE of windows that are not created, duplicates sent before
    emo:{s}:w:SIZE|START|KEY  hash    one window; `codec` lists its fields
    emo:{s}:index:SIZE        zset    all windows of a size, by end
    emo:{s}:open              zset    windows that are not final, by end
    emo:{s}:dirty             set     windows that changed since they were last published
    emo:{s}:top               zset    the latest windows of the longest size, by minus their number of posts

All times are in milliseconds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple, Self

from connectors.redis import RedisClient, redis_errors
from streams.records import ALL_KEYWORDS, EmotionWindow, to_ms
from streams.windows.codec import sum_rows, to_window
from streams.windows.tumbling import WindowKey, shard_of, window_start

_PAGE = 250
"""Windows read in one round trip. It takes a few milliseconds, in which Redis serves no other client."""

_NAMES_PAGE = 5_000
"""Names of windows read in one round trip. It takes a few milliseconds too."""

Row = tuple[WindowKey, dict[str, str]]
"""A window and the fields of its hash, without fields if the window no longer exists."""


def script(name: str) -> str:
    """Returns the text of a Lua script."""
    return files("streams.windows").joinpath(f"lua/{name}.lua").read_text("utf-8")


class ShardCounters(NamedTuple):
    """The shards' counters of posts that no window of all posts holds, summed over the shards.

    Attributes:
        too_late: posts too late for a window, by its size in seconds.
        expired: posts in windows that were removed, by size.
        unbuilt: posts of windows that were not created because Kafka had lost some of their posts, by size.
        duplicates: posts that their producer had sent before.
    """

    too_late: dict[int, int]
    expired: dict[int, int]
    unbuilt: dict[int, int]
    duplicates: int


class WindowReader:
    """Reads the window tables of one generation. Redis errors are raised as ConnectorError.

    Attributes:
        shards: the number of shards.
        sizes: the window sizes in seconds, shortest first.
        generation: the generation that is read. `refresh` changes it to the current one.
    """

    def __init__(self, client: RedisClient, *, prefix: str, shards: int, sizes: Sequence[int]) -> None:
        """Create a reader of generation 0. It connects with the first request.

        Args:
            client: a client that decodes responses to `str`.
            prefix: the beginning of every key, `emo` by default.
            shards: the number of shards.
            sizes: the window sizes in seconds.
        """
        self._redis: Any = client  # redis-py's types are unions of all decodings
        self._hashes = self._redis.register_script(script("rows"))
        self._prefix = prefix
        self.shards = shards
        self.sizes = tuple(sorted(sizes))
        self.generation = 0

    async def refresh(self) -> int:
        """Switch to the current generation, and return its number."""
        with redis_errors("reading the window tables"):
            stored: str | None = await self._redis.hget(self._meta, "generation")
        self.generation = int(stored or 0)
        return self.generation

    def at(self, generation: int) -> Self:
        """Returns a reader of any generation, over the same connection."""
        pinned = copy.copy(self)
        pinned.generation = generation
        return pinned

    @property
    def _meta(self) -> str:
        return f"{self._prefix}:meta"

    def _key(self, shard: int, name: str) -> str:
        generation = f"g{self.generation}:" if self.generation else ""
        return f"{self._prefix}:{{{shard}}}:{generation}{name}"

    def _window_key(self, shard: int, member: str) -> str:
        return self._key(shard, f"w:{member}")

    def _index(self, shard: int, size: int) -> str:
        return self._key(shard, f"index:{size}")

    async def counters(self) -> ShardCounters:
        """Returns the shards' counters, summed over the shards."""
        by_kind: dict[str, dict[int, int]] = {"late": {}, "expired": {}, "unbuilt": {}}
        duplicates = 0
        for shard in range(self.shards):
            with redis_errors("reading the shards' counters"):
                state: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
            for name, value in state.items():
                kind, _, size = name.partition(":")
                if kind in by_kind:
                    by_kind[kind][int(size)] = by_kind[kind].get(int(size), 0) + int(value)
            duplicates += int(state.get("duplicates", 0))
        return ShardCounters(
            too_late=by_kind["late"],
            expired=by_kind["expired"],
            unbuilt=by_kind["unbuilt"],
            duplicates=duplicates,
        )

    async def read(
        self,
        *,
        keyword: str | None = None,
        size: int | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> list[EmotionWindow]:
        """Returns windows, sorted by the latest end, the shorter size, `*` before keywords, and the number of posts.

        Args:
            keyword: only windows of this keyword; None for all keywords and `*`.
            size: only windows of this size in seconds; None for all sizes.
            since_ms: only windows that end after this event time, in ms since 1970; None for no such bound.
            limit: the most windows to return; None for all.
        """
        found: list[EmotionWindow] = []
        for one in self.sizes if size is None else tuple({size} & {*self.sizes}):
            rows = await self._rows(one, keyword=keyword, since_ms=since_ms, limit=limit)
            found += [to_window(key, row) for key, row in rows]
        found.sort(key=lambda w: (-to_ms(w.end), w.size, *_rank(w.keyword, w.count + w.unsupported)))
        return found[:limit]

    async def sliding(
        self, size: int, windows: int, *, keyword: str | None = None, limit: int | None = None
    ) -> list[EmotionWindow]:
        """Returns sliding windows: the sums of the last windows of a size, `*` first, then by number of posts.

        The last window is the latest one of any keyword.

        Args:
            size: the size of the windows that are summed, in seconds.
            windows: how many windows are summed, those without posts included.
            keyword: only this keyword; None for all keywords and `*`.
            limit: the most sums to return; None for all.

        Returns:
            One window for each keyword that has posts in them. It is `windows` times as long as `size`. It is final if
            all summed windows are.
        """
        end = await self.newest_end(size)
        if end is None:
            return []
        start = end - windows * size * 1_000
        by_keyword: dict[str, list[dict[str, str]]] = {}
        for key, row in await self._rows(size, keyword=keyword, since_ms=start):
            if key.end <= end and row["n"] != "0":
                by_keyword.setdefault(key.keyword, []).append(row)
        # Rank first, and make only the records that are returned: there may be very many keywords.
        ranked = sorted(by_keyword, key=lambda word: _rank(word, sum(int(row["n"]) for row in by_keyword[word])))
        return [
            to_window(WindowKey(word, windows * size, start), sum_rows(by_keyword[word])) for word in ranked[:limit]
        ]

    async def newest_end(self, size: int) -> int | None:
        """Returns the end of the latest window of a size, in ms since 1970; None if there is none."""
        found = [await self._bounds(self._index(shard, size)) for shard in range(self.shards)]
        return max((newest for bounds in found if bounds for newest in bounds), default=None)

    async def scan(self, size: int) -> AsyncIterator[list[EmotionWindow]]:
        """Yields all windows of a size, in pages and in no order.

        A window that exists during the whole scan comes at least once. A window that changes may come twice.
        """
        for shard in range(self.shards):
            cursor = 0
            while True:
                with redis_errors("reading windows"):
                    cursor, found = await self._redis.zscan(self._index(shard, size), cursor, count=_PAGE)
                    rows = await self._read_rows(shard, [member for member, _ in found])
                yield [to_window(key, row) for key, row in rows if row]
                if cursor == 0:
                    break

    async def memory(self, size: int) -> tuple[int, int]:
        """Returns the number of windows of a size, and the bytes of their hashes. It asks Redis for each window."""
        windows = taken = 0
        for shard in range(self.shards):
            with redis_errors("reading the memory of windows"):
                members = await self._latest_members(self._index(shard, size), None, None)
                for start in range(0, len(members), _PAGE):
                    async with self._redis.pipeline(transaction=False) as pipe:
                        for member in members[start : start + _PAGE]:
                            pipe.memory_usage(self._window_key(shard, member), samples=0)
                        found = await pipe.execute()
                    windows += sum(one is not None for one in found)
                    taken += sum(one or 0 for one in found)
        return windows, taken

    async def _rows(
        self, size: int, *, keyword: str | None, since_ms: int | None = None, limit: int | None = None
    ) -> list[Row]:
        """Returns windows of one size: at least the `limit` that rank highest."""
        found: list[Row] = []
        for shard in range(self.shards) if keyword is None else (shard_of(keyword, self.shards),):
            with redis_errors("reading windows"):
                if keyword is None:
                    members = await self._latest_members(self._index(shard, size), since_ms, limit)
                else:
                    members = await self._keyword_members(self._index(shard, size), size, keyword, since_ms)
                of_shard: list[Row] = []
                for start in range(0, len(members), _PAGE):
                    rows = await self._read_rows(shard, members[start : start + _PAGE])
                    of_shard += [(key, row) for key, row in rows if row]
                    if keyword is not None and limit is not None and len(of_shard) >= limit:
                        break
                found += of_shard
        return found

    async def _latest_members(self, index: str, since_ms: int | None, limit: int | None) -> list[str]:
        """Returns the names of the windows that end after `since_ms`, latest first: at least `limit`, if there are."""
        lowest = -math.inf if since_ms is None else since_ms + 1
        if limit is not None:
            # Windows with the same end rank by their posts. So all windows with the last end are needed.
            last = await self._redis.zrange(index, limit - 1, limit - 1, desc=True, withscores=True)
            lowest = max(lowest, last[0][1]) if last else lowest
        found: dict[str, None] = {}
        async for page in self._pages(index, _NAMES_PAGE):
            found |= dict.fromkeys(member for member, end in page if end >= lowest)
            if page[-1][1] < lowest:
                break
        return list(found)

    async def _pages(self, index: str, size: int) -> AsyncIterator[list[tuple[str, float]]]:
        """Yields the names and ends of all windows of an index, latest first, `size` at a time.

        A window that is created meanwhile moves others to the next page, so that they may come twice, but none is
        missed. The windows that expire are at the other end.
        """
        start = 0
        while True:
            with redis_errors("reading windows"):
                page = await self._redis.zrange(index, start, start + size - 1, desc=True, withscores=True)
            if page:
                yield page
            if len(page) < size:
                return
            start += size

    async def _keyword_members(self, index: str, size: int, keyword: str, since_ms: int | None) -> list[str]:
        """Returns all names that windows of a keyword can have, from the newest to the oldest window of an index.

        The name of a window follows from its keyword and start. So the windows of other keywords need not be read.
        """
        bounds = await self._bounds(index)
        if bounds is None:
            return []
        length = size * 1_000
        oldest, newest = (end - length for end in bounds)
        if since_ms is not None:
            oldest = max(oldest, window_start(since_ms, size))
        return [WindowKey(keyword, size, start).member() for start in range(newest, oldest - 1, -length)]

    async def _bounds(self, index: str) -> tuple[int, int] | None:
        """Returns the ends of the oldest and the newest window of an index; None if it is empty."""
        with redis_errors("reading windows"):
            oldest, newest = [await self._redis.zrange(index, at, at, withscores=True) for at in (0, -1)]
        # Between the two commands, the first window may be created or Redis may be emptied.
        if not oldest or not newest:
            return None
        return int(oldest[0][1]), int(newest[0][1])

    async def _read_rows(self, shard: int, members: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        for start in range(0, len(members), _PAGE):
            page = members[start : start + _PAGE]
            found: list[list[str]] = await self._hashes(keys=[self._window_key(shard, member) for member in page])
            rows += [
                (WindowKey.parse(member), dict(zip(flat[::2], flat[1::2], strict=True)))
                for member, flat in zip(page, found, strict=True)
            ]
        return rows

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _rank(keyword: str, posts: int) -> tuple[bool, int, str]:
    """Returns a sort key: `*` first, then by number of posts, then by keyword."""
    return keyword != ALL_KEYWORDS, -posts, keyword
