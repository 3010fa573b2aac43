"""Reads the window tables in Redis.

Keys of shard s (`{s}` is the hash tag, so that a shard lies whole on one node of a cluster). They are those of the
first tables, generation 0; those of generation 3, which a rebuild has made, begin with `emo:{s}:g3`:

    emo:meta                  hash    shards, partitions, sizes: what the tables were built for
                                      generation: the tables in force, 0 where it is absent
                                      and what `rebuild.leases` notes
    emo:{s}:state             hash    p:N offset, f:N fence, t:N event time, a:N time of the last apply; of partition N
                                      complete_from: windows that start earlier are not made, since Kafka had lost posts
                                      of theirs when the tables were begun
                                      watermark; expired_to:SIZE, before which windows of that size were removed
                                      late:SIZE posts too late for a window of that size; expired:SIZE posts in
                                      removed windows of all posts; unbuilt:SIZE posts of windows that are not made
                                      duplicates: posts that a producer had sent before
                                      sealed_until: nothing may change before it, in ms on the server's clock; sealed_by
    emo:{s}:w:SIZE|START|KEY  hash    one window
    emo:{s}:index:SIZE        zset    all windows of a size, by end
    emo:{s}:open              zset    windows that are not final, by end
    emo:{s}:dirty             set     windows changed since they were last published
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple, Self

from connectors.redis import RedisClient, redis_errors
from streams.records import ALL_KEYWORDS, EmotionWindow, to_ms
from streams.windows.codec import sum_rows, to_window
from streams.windows.tumbling import WindowKey, shard_of, window_start

_PAGE = 250
"""Windows read in one round trip: a few milliseconds, during which Redis serves nobody else."""

Row = tuple[WindowKey, dict[str, str]]
"""A window and the fields of its hash; none if it is gone."""


def script(name: str) -> str:
    """The text of a Lua script."""
    return files("streams.windows").joinpath(f"lua/{name}.lua").read_text("utf-8")


class ShardCounters(NamedTuple):
    """Posts that no window of all posts holds; but for duplicates by window size in seconds.

    Attributes:
        late: too late for their window.
        expired: in windows that were removed.
        unbuilt: of windows that were not made, because Kafka had lost others of their posts.
        duplicates: sent before by their producer.
    """

    late: dict[int, int]
    expired: dict[int, int]
    unbuilt: dict[int, int]
    duplicates: int


class WindowReader:
    """Reads the window tables. Redis errors come out as ConnectorError.

    Attributes:
        shards: how many hash tags the windows are spread over.
        sizes: lengths in seconds of the windows that are kept, shortest first.
        generation: of the tables that are read; `refresh` follows a switch to rebuilt ones.
    """

    def __init__(self, client: RedisClient, *, prefix: str, shards: int, sizes: Sequence[int]) -> None:
        """Open the tables; connects with the first request.

        Args:
            client: a client that decodes answers.
            prefix: of every key.
            shards: how many hash tags the windows are spread over.
            sizes: lengths in seconds of the windows that are kept.
        """
        self._redis: Any = client  # redis-py types every answer as a union over all decodings
        self._hashes = self._redis.register_script(script("rows"))
        self._counts = self._redis.register_script(script("counts"))
        self._prefix = prefix
        self.shards = shards
        self.sizes = tuple(sorted(sizes))
        self.generation = 0

    async def refresh(self) -> int:
        """Turn to the generation that is in force; returns it."""
        with redis_errors("reading the window tables"):
            stored: str | None = await self._redis.hget(self._meta, "generation")
        self.generation = int(stored or 0)
        return self.generation

    def at(self, generation: int) -> Self:
        """The tables of one generation, whatever is in force, over the same connection."""
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
        """Posts that no window of all posts holds."""
        by_kind: dict[str, dict[int, int]] = {"late": {}, "expired": {}, "unbuilt": {}}
        duplicates = 0
        for shard in range(self.shards):
            with redis_errors("reading late counts"):
                state: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
            for name, value in state.items():
                kind, _, size = name.partition(":")
                if kind in by_kind:
                    by_kind[kind][int(size)] = by_kind[kind].get(int(size), 0) + int(value)
            duplicates += int(state.get("duplicates", 0))
        return ShardCounters(**by_kind, duplicates=duplicates)

    async def read(
        self,
        *,
        keyword: str | None = None,
        size: int | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> list[EmotionWindow]:
        """Windows in the tables: latest end first, all posts before single keywords, then by number of posts.

        Args:
            keyword: only this keyword's; None for all, `*` among them.
            size: only windows of this size in seconds; None for every size.
            since_ms: only windows that end after this time.
            limit: no more than these; None for all.
        """
        found: list[EmotionWindow] = []
        for one in self.sizes if size is None else tuple({size} & {*self.sizes}):
            rows = await self._rows(one, keyword=keyword, since_ms=since_ms, limit=limit)
            found += [to_window(key, row) for key, row in rows]
        found.sort(key=lambda w: (-to_ms(w.end), w.size, *_rank(w.keyword, w.count)))
        return found[:limit]

    async def sliding(
        self, size: int, windows: int, *, keyword: str | None = None, limit: int | None = None
    ) -> list[EmotionWindow]:
        """The sums of the last `windows` windows of a size: all posts first, then by number of posts.

        The last window is the latest that any post fell into, whatever its keyword.

        Args:
            size: of the windows that are summed, in seconds.
            windows: how many; those without a post count as well.
            keyword: only this keyword's; None for all, `*` among them.
            limit: no more than these; None for all.

        Returns:
            A window for each keyword that has a post in them, `windows` times as long as `size`; final if all are.
        """
        ends = [await self._bounds(self._index(shard, size)) for shard in range(self.shards)]
        if not any(ends):
            return []
        end = max(newest for bounds in ends if bounds for newest in bounds)
        start = end - windows * size * 1_000
        by_keyword: dict[str, list[dict[str, str]]] = {}
        for key, row in await self._rows(size, keyword=keyword, since_ms=start):
            if key.end <= end and row["n"] != "0":
                by_keyword.setdefault(key.keyword, []).append(row)
        # Ranked before they are made: there may be very many.
        ranked = sorted(by_keyword, key=lambda word: _rank(word, sum(int(row["n"]) for row in by_keyword[word])))
        return [
            to_window(WindowKey(word, windows * size, start), sum_rows(by_keyword[word])) for word in ranked[:limit]
        ]

    async def top_keywords(self, size: int, limit: int) -> list[Row]:
        """Of the windows of a size that end last, the `limit` with most posts; that of all posts comes first.

        A worker asks every second, of perhaps very many: so the fields are read of those alone that it gets.
        """
        shards = range(self.shards)
        with redis_errors("reading windows"):
            newest = await asyncio.gather(
                *(self._redis.zrange(self._index(shard, size), -1, -1, withscores=True) for shard in shards)
            )
            end = max((int(found[0][1]) for found in newest if found), default=None)
            if end is None:
                return []
            counted = await asyncio.gather(*(self._counted(shard, size, end) for shard in shards))
            ranked = sorted(
                (_rank(key.keyword, posts), shard, key)
                for shard, of_shard in zip(shards, counted, strict=True)
                for key, posts in of_shard
            )[:limit]
            rows = await asyncio.gather(
                *(self._read_rows(shard, [key.member() for _, at, key in ranked if at == shard]) for shard in shards)
            )
        by_key = {key: row for of_shard in rows for key, row in of_shard if row}
        return [(key, by_key[key]) for _, _, key in ranked if key in by_key]

    async def _counted(self, shard: int, size: int, end: int) -> list[tuple[WindowKey, int]]:
        """The windows of a size with that end that have posts, and how many."""
        members: list[str] = await self._redis.zrange(self._index(shard, size), end, end, byscore=True)
        found: list[tuple[WindowKey, int]] = []
        for start in range(0, len(members), _PAGE):
            page = members[start : start + _PAGE]
            posts: list[str | None] = await self._counts(keys=[self._window_key(shard, member) for member in page])
            found += [
                (WindowKey.parse(member), int(n)) for member, n in zip(page, posts, strict=True) if n and n != "0"
            ]
        return found

    async def scan(self, size: int) -> AsyncIterator[list[EmotionWindow]]:
        """All windows of a size, in pages and in no order; one that changes meanwhile may come twice.

        One that is there from the beginning to the end comes at least once.
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
        """How many windows of a size there are, and the bytes that their hashes take; Redis is asked for each."""
        windows = taken = 0
        for shard in range(self.shards):
            with redis_errors("reading the memory of windows"):
                members: list[str] = await self._redis.zrange(self._index(shard, size), 0, -1)
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
        """Windows of one size; at least the `limit` that rank highest."""
        found: list[Row] = []
        for shard in range(self.shards) if keyword is None else (shard_of(keyword, self.shards),):
            with redis_errors("reading windows"):
                if keyword is None:
                    members = await self._latest(self._index(shard, size), since_ms, limit)
                else:
                    members = await self._of_keyword(self._index(shard, size), size, keyword, since_ms)
                of_shard: list[Row] = []
                for start in range(0, len(members), _PAGE):
                    rows = await self._read_rows(shard, members[start : start + _PAGE])
                    of_shard += [(key, row) for key, row in rows if row]
                    if keyword is not None and limit is not None and len(of_shard) >= limit:
                        break
                found += of_shard
        return found

    async def _latest(self, index: str, since_ms: int | None, limit: int | None) -> list[str]:
        lowest = "-inf" if since_ms is None else f"({since_ms}"
        if limit is not None:
            # Windows with the same end rank by their posts, so that all of the last end are needed.
            last = await self._redis.zrange(
                index, "+inf", lowest, byscore=True, desc=True, offset=limit - 1, num=1, withscores=True
            )
            lowest = str(int(last[0][1])) if last else lowest
        members: list[str] = await self._redis.zrange(index, "+inf", lowest, byscore=True, desc=True)
        return members

    async def _of_keyword(self, index: str, size: int, keyword: str, since_ms: int | None) -> list[str]:
        """Every name that a keyword's windows can have between the oldest and the newest in an index, latest first.

        A window's name follows from its keyword and start, so that the windows of the other keywords are not looked at.
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
        """The ends of the oldest and the newest window in an index; None of an empty one."""
        with redis_errors("reading windows"):
            oldest, newest = [await self._redis.zrange(index, at, at, withscores=True) for at in (0, -1)]
        # Between the two the first window may have come, or Redis been emptied.
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
    return keyword != ALL_KEYWORDS, -posts, keyword
