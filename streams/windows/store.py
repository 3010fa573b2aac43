"""The window tables in Redis. Every change is one Lua script on one shard.

Keys of shard s (`{s}` is the hash tag, so that a shard lies whole on one node of a cluster):

    emo:meta                  hash    shards, partitions: what the tables were built for
    emo:{s}:state             hash    p:N offset, f:N fence, t:N event time, a:N time of the last apply; of partition N
                                      watermark; expired_to, before which windows were removed
                                      late:SIZE posts too late for a window of that size; expired:SIZE posts in
                                      removed windows of all posts
    emo:{s}:w:SIZE|START|KEY  hash    one window
    emo:{s}:index             zset    all windows, by end
    emo:{s}:open              zset    windows that are not final, by end
    emo:{s}:dirty             set     windows changed since they were last published
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis

from connectors.redis import redis_errors
from streams.errors import TopologyError
from streams.records import ALL_KEYWORDS, EmotionWindow, to_ms
from streams.windows.codec import to_window
from streams.windows.deltas import Position, Reduction
from streams.windows.tumbling import WindowKey, shard_of


@dataclass(frozen=True)
class ShardTimes:
    """What a shard knows of time.

    Attributes:
        offsets: where the shard stands in each partition.
        events: latest event time of each partition, in milliseconds.
        idle_s: seconds since each partition last brought anything, on the Redis server's clock.
        watermark: the highest watermark so far, in milliseconds; None before the first.
    """

    offsets: Mapping[int, int]
    events: Mapping[int, int]
    idle_s: Mapping[int, float]
    watermark: int | None


def _script(name: str) -> str:
    return files("streams.windows").joinpath(f"lua/{name}.lua").read_text("utf-8")


class WindowStore:
    """Reads and changes the window tables. Redis errors come out as ConnectorError."""

    def __init__(self, client: Redis, *, prefix: str, shards: int) -> None:
        self._redis: Any = client  # redis-py types every answer as a union over all decodings
        self._prefix = prefix
        self.shards = shards
        self._apply = client.register_script(_script("apply"))
        self._expire = client.register_script(_script("expire"))
        self._finalize = client.register_script(_script("finalize"))
        self._published = client.register_script(_script("published"))

    def _key(self, shard: int, name: str) -> str:
        return f"{self._prefix}:{{{shard}}}:{name}"

    def _window_key(self, shard: int, member: str) -> str:
        return self._key(shard, f"w:{member}")

    async def check_topology(self, partitions: int) -> None:
        """Refuse tables that were built for another number of shards or partitions; note ours if there are none.

        Raises:
            TopologyError: they differ. Counting on would put a keyword's posts into two shards.
        """
        key = f"{self._prefix}:meta"
        wanted = {"shards": str(self.shards), "partitions": str(partitions)}
        with redis_errors("reading the window tables"):
            for field, value in wanted.items():
                await self._redis.hsetnx(key, field, value)
            stored: dict[str, str] = await self._redis.hgetall(key)
        for field, value in wanted.items():
            if stored[field] != value:
                raise TopologyError(
                    f"the window tables in Redis ({self._prefix}:*) were built for {stored[field]} {field}, "
                    f"the settings say {value}; set EMOSTREAM_{field.upper()}={stored[field]} or use another "
                    "EMOSTREAM_REDIS_PREFIX"
                )

    async def positions(self, shard: int, partitions: Sequence[int]) -> dict[int, Position]:
        """Where a shard stands in each partition; `Position()` where it has none."""
        if not partitions:
            return {}
        fields = [f"{kind}:{partition}" for partition in partitions for kind in "pft"]
        with redis_errors("reading positions"):
            values = await self._redis.hmget(self._key(shard, "state"), fields)
        numbers = [-1 if value is None else int(value) for value in values]
        return {partition: Position(*numbers[3 * i : 3 * i + 3]) for i, partition in enumerate(partitions)}

    async def apply(self, shard: int, partition: int, expected: Position, reduction: Reduction) -> int | None:
        """Add a reduction to a shard, if the shard still stands at `expected`; all of it or nothing.

        Returns:
            None if it was applied; else the offset at which the shard stands (-1 for none), and nothing was changed.
        """
        new = reduction.position
        late: dict[int, int] = {}
        for note in reduction.too_late:
            late[note.window.size] = late.get(note.window.size, 0) + 1
        members = [(key.member(), key, delta) for key, delta in reduction.windows.items()]
        keys = [self._key(shard, name) for name in ("state", "index", "open", "dirty")]
        keys += [self._window_key(shard, member) for member, _, _ in members]
        args: list[Any] = [
            partition,
            "" if expected.offset < 0 else expected.offset,
            *new,
            json.dumps(late),
        ]
        for member, key, delta in members:
            content = {"fields": delta.fields, "first": delta.first, "last": delta.last}
            args += [member, key.end, key.size if key.keyword == ALL_KEYWORDS else "", json.dumps(content)]
        with redis_errors("applying a batch to the windows"):
            applied, stored = await self._apply(keys=keys, args=args)
        if applied:
            return None
        return int(stored) if stored else -1

    async def times(self, shard: int) -> ShardTimes:
        """The event times from which the watermark follows."""
        with redis_errors("reading event times"):
            state: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
            seconds, micros = await self._redis.time()
        now = seconds + micros / 1e6
        by_kind: dict[str, dict[int, int]] = {"p": {}, "t": {}, "a": {}}
        for name, value in state.items():
            kind, _, partition = name.partition(":")
            if kind in by_kind and int(value) >= 0:
                by_kind[kind][int(partition)] = int(value)
        return ShardTimes(
            offsets=by_kind["p"],
            events=by_kind["t"],
            idle_s={partition: now - at / 1_000 for partition, at in by_kind["a"].items()},
            watermark=int(state["watermark"]) if "watermark" in state else None,
        )

    async def finalize(self, shard: int, watermark_ms: int, limit: int = 500) -> int:
        """Mark up to `limit` windows that end at or before the watermark as final; returns how many were."""
        names = [self._key(shard, name) for name in ("state", "open", "dirty")]
        with redis_errors("finalizing windows"):
            members = await self._redis.zrange(names[1], "-inf", watermark_ms, byscore=True, offset=0, num=limit)
            keys = names + [self._window_key(shard, member) for member in members]
            marked: int = await self._finalize(keys=keys, args=[watermark_ms, *members])
        return marked

    async def expire(self, shard: int, before_ms: int, limit: int = 500) -> int:
        """Remove up to `limit` windows that ended at or before a time and are published; returns how many."""
        names = [self._key(shard, name) for name in ("state", "index", "open", "dirty")]
        with redis_errors("expiring windows"):
            members: list[str] = await self._redis.zrange(
                names[1], "-inf", before_ms, byscore=True, offset=0, num=limit
            )
            if not members:
                return 0
            args: list[str | int] = [before_ms]
            for member in members:
                key = WindowKey.parse(member)
                args += [member, key.size if key.keyword == ALL_KEYWORDS else ""]
            keys = names + [self._window_key(shard, member) for member in members]
            removed: int = await self._expire(keys=keys, args=args)
        return removed

    async def dirty(self, shard: int, limit: int) -> list[tuple[WindowKey, EmotionWindow | None]]:
        """Up to `limit` windows that await publication; None in place of one that no longer exists."""
        with redis_errors("reading changed windows"):
            members = await self._redis.srandmember(self._key(shard, "dirty"), limit)
            return await self._read(shard, members or [])

    async def published(self, shard: int, windows: Sequence[tuple[WindowKey, EmotionWindow | None]]) -> None:
        """Clear the dirty marks of windows that were published and have not changed since."""
        keys, args = [self._key(shard, "dirty")], []
        for key, window in windows:
            keys.append(self._window_key(shard, key.member()))
            args += [key.member(), "" if window is None else str(window.revision)]
        with redis_errors("clearing published windows"):
            await self._published(keys=keys, args=args)

    async def mark_all_dirty(self, shard: int) -> int:
        """Have every window published again; returns how many there are."""
        index, dirty = self._key(shard, "index"), self._key(shard, "dirty")
        with redis_errors("marking windows"):
            members: list[str] = await self._redis.zrange(index, 0, -1)
            for start in range(0, len(members), 1_000):
                await self._redis.sadd(dirty, *members[start : start + 1_000])
        return len(members)

    async def dirty_count(self, shard: int) -> int:
        """How many windows await publication."""
        with redis_errors("reading changed windows"):
            count: int = await self._redis.scard(self._key(shard, "dirty"))
        return count

    async def uncounted(self) -> tuple[dict[int, int], dict[int, int]]:
        """Posts that no window of all posts holds, by window size: too late for theirs, and in expired windows."""
        late: dict[int, int] = {}
        expired: dict[int, int] = {}
        for shard in range(self.shards):
            with redis_errors("reading late counts"):
                state: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
            for name, value in state.items():
                kind, _, size = name.partition(":")
                totals = {"late": late, "expired": expired}.get(kind)
                if totals is not None:
                    totals[int(size)] = totals.get(int(size), 0) + int(value)
        return late, expired

    async def read(
        self,
        *,
        keyword: str | None = None,
        size: int | None = None,
        since_ms: int | None = None,
        page: int = 1_000,
    ) -> list[EmotionWindow]:
        """Windows in the tables: latest end first, all posts before single keywords, then by number of posts.

        Args:
            keyword: only this keyword's; None for all, `*` among them.
            size: only windows of this size in seconds.
            since_ms: only windows that end after this time.
            page: windows read in one round trip.
        """
        shards = range(self.shards) if keyword is None else (shard_of(keyword, self.shards),)
        found: list[EmotionWindow] = []
        lowest = "-inf" if since_ms is None else f"({since_ms}"
        for shard in shards:
            with redis_errors("reading windows"):
                members = await self._redis.zrange(self._key(shard, "index"), "+inf", lowest, byscore=True, desc=True)
                keys = [WindowKey.parse(member) for member in members]
                wanted = [
                    key.member()
                    for key in keys
                    if (keyword is None or key.keyword == keyword) and (size is None or key.size == size)
                ]
                for start in range(0, len(wanted), page):
                    rows = await self._read(shard, wanted[start : start + page])
                    found += [window for _, window in rows if window is not None]
        return sorted(found, key=lambda w: (-to_ms(w.end), w.size, w.keyword != ALL_KEYWORDS, -w.count, w.keyword))

    async def _read(self, shard: int, members: Sequence[str]) -> list[tuple[WindowKey, EmotionWindow | None]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for member in members:
                pipe.hgetall(self._window_key(shard, member))
            rows: list[dict[str, str]] = await pipe.execute() if members else []
        keys = [WindowKey.parse(member) for member in members]
        return [(key, to_window(key, row) if row else None) for key, row in zip(keys, rows, strict=True)]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
