"""Changes the window tables in Redis. Every change is one Lua script on one shard. `reader` lists the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic_core import to_json
from redis.asyncio import RedisCluster

from connectors.errors import UnavailableError
from connectors.redis import RedisClient, redis_errors
from streams.errors import TopologyError
from streams.records import ALL_KEYWORDS
from streams.windows.deltas import Position
from streams.windows.reader import Row, WindowReader, script
from streams.windows.tumbling import WindowKey
from streams.windows.update import ShardUpdate


@dataclass(frozen=True)
class ShardTimes:
    """The part of a shard's state that the emitter needs.

    Attributes:
        offsets: the shard's offset in each partition.
        events: the latest event time of each partition, in ms since 1970.
        idle_s: seconds since each partition was last applied, on the Redis server's clock.
        watermark: the highest watermark so far, in ms since 1970; None before the first.
        sealed: whether nothing may change now, because the window tables are being switched to rebuilt ones.
        dirty: the number of dirty windows.
        first_open: the earliest end of a window that is not final, in ms since 1970; None if all are final.
        first_kept: by size, the earliest end of a window, in ms since 1970. A size without windows is left out.
    """

    offsets: Mapping[int, int]
    events: Mapping[int, int]
    idle_s: Mapping[int, float]
    watermark: int | None
    sealed: bool = False
    dirty: int = 0
    first_open: int | None = None
    first_kept: Mapping[int, int] = field(default_factory=dict)


class SealedError(UnavailableError):
    """The window tables are being switched to rebuilt ones, which takes seconds."""

    def __init__(self) -> None:
        super().__init__("the window tables are being switched to rebuilt ones")


DIRTY_BACKLOG = 20_000
"""If a shard has more dirty windows than this, they are read without regard to their size.

To sort this many by size takes Redis a few milliseconds."""

_SEALED = 2
"""What `lua/apply.lua` returns first if the shard is sealed."""


def _topology_error(prefix: str, field: str, stored: str, wanted: str) -> TopologyError:
    tables = f"the window tables in Redis ({prefix}:*)"
    other_prefix = "use another EMOSTREAM_REDIS_PREFIX"
    if field == "sizes":
        return TopologyError(
            f"{tables} hold windows of {stored} s, but the settings say {wanted} s; "
            f"restore EMOSTREAM_WINDOW_SIZES or {other_prefix}"
        )
    setting = f"EMOSTREAM_{field.upper()}={stored}"
    return TopologyError(
        f"{tables} were built for {stored} {field}, but the settings say {wanted}; set {setting} or {other_prefix}"
    )


class WindowStore(WindowReader):
    """Reads and changes the window tables of one generation. Redis errors are raised as ConnectorError."""

    def __init__(self, client: RedisClient, *, prefix: str, shards: int, sizes: Sequence[int]) -> None:
        """Create a store; see `WindowReader`."""
        super().__init__(client, prefix=prefix, shards=shards, sizes=sizes)
        self._apply = client.register_script(script("apply"))
        self._dirty = client.register_script(script("dirty"))
        self._expire = client.register_script(script("expire"))
        self._finalize = client.register_script(script("finalize"))
        self._clear_dirty = client.register_script(script("clear_dirty"))
        self._times = client.register_script(script("times"))

    async def check_topology(self, partitions: int) -> None:
        """Check that the window tables were built for these shards, partitions and sizes. Stores them in empty tables.

        Raises:
            TopologyError: The tables were built for others. To count on would put the posts of a keyword into two
                shards, or leave a new size without the posts that were counted before.
        """
        key = self._meta
        wanted = {
            "shards": str(self.shards),
            "partitions": str(partitions),
            "sizes": ",".join(map(str, self.sizes)),
        }
        with redis_errors("reading the window tables"):
            for field, value in wanted.items():
                await self._redis.hsetnx(key, field, value)
            stored: dict[str, str] = await self._redis.hgetall(key)
        for field, value in wanted.items():
            if stored[field] != value:
                raise _topology_error(self._prefix, field, stored[field], value)

    async def changed_topics(self, ids: Mapping[str, str]) -> list[str]:
        """Returns the topics whose id is not the stored one: the tables hold positions in an earlier topic of the name.

        `ids` has the present id of each topic. The id of a topic that has none in the tables is stored.
        """
        changed = []
        with redis_errors("reading the window tables"):
            for topic, present in ids.items():
                await self._redis.hsetnx(self._meta, f"topic:{topic}", present)
                if await self._redis.hget(self._meta, f"topic:{topic}") != present:
                    changed.append(topic)
        return changed

    async def forget_positions(self, kind: Literal["p", "f"], partitions: int, topic: str, present: str) -> None:
        """Forget the positions in an earlier topic, and store the id of the present one. The windows stay.

        Args:
            kind: `p` for the offsets in the classified topic, `f` for the fences, which are offsets in the raw topic.
            partitions: The number of partitions.
            topic: The topic.
            present: Its present id.
        """
        fields = [f"{kind}:{partition}" for partition in range(partitions)]
        with redis_errors("forgetting positions"):
            for shard in range(self.shards):
                await self._redis.hdel(self._key(shard, "state"), *fields)
            # Last, so that a second try repeats what an interrupted one has left.
            await self._redis.hset(self._meta, f"topic:{topic}", present)

    async def is_initialised(self, shard: int) -> bool:
        """Returns whether a shard is initialised. Until then, nothing can be applied to it."""
        with redis_errors("reading the window tables"):
            found: bool = await self._redis.hexists(self._key(shard, "state"), "complete_from")
        return found

    async def initialise(self, shard: int, complete_from_ms: int) -> None:
        """Initialise a shard, unless it is initialised.

        `complete_from_ms` is the event time, in ms since 1970, from which every post can be counted. A window that
        starts earlier would lack posts, so it is not created, and the complete one that was published before stays the
        latest. The posts of such windows are counted in the shard's counter `unbuilt`.
        """
        with redis_errors("initialising the window tables"):
            await self._redis.hsetnx(self._key(shard, "state"), "complete_from", complete_from_ms)

    async def positions(self, shard: int, partitions: Sequence[int]) -> dict[int, Position]:
        """Returns a shard's position in each partition; `Position()` if it has none."""
        if not partitions:
            return {}
        # p: offset, f: fence, t: latest event time
        fields = [f"{kind}:{partition}" for partition in partitions for kind in "pft"]
        with redis_errors("reading positions"):
            values = await self._redis.hmget(self._key(shard, "state"), fields)
        numbers = [-1 if value is None else int(value) for value in values]
        return {partition: Position(*numbers[3 * i : 3 * i + 3]) for i, partition in enumerate(partitions)}

    async def apply_all(self, updates: Mapping[int, ShardUpdate]) -> dict[int, tuple[int, int]]:
        """Apply the updates of several shards.

        Returns:
            What `apply` returned for the shards whose update was not applied.

        Raises:
            SealedError: A shard is sealed.
        """
        if isinstance(self._redis, RedisCluster):
            found = await asyncio.gather(*(self.apply(shard, update) for shard, update in updates.items()))
        else:
            # A single server would run the scripts in one go, and answer all other clients only afterwards.
            found = [await self.apply(shard, update) for shard, update in updates.items()]
        return {shard: mismatch for shard, mismatch in zip(updates, found, strict=True) if mismatch is not None}

    async def apply(self, shard: int, update: ShardUpdate) -> tuple[int, int] | None:
        """Apply an update to a shard, if the shard has the expected positions.

        Returns:
            None if the update was applied. Otherwise nothing was changed; returns a partition in which the position is
            another one, and the shard's offset in it (-1 for none).

        Raises:
            SealedError: The shard is sealed. Nothing was changed.
        """
        ordinal = {size: number for number, size in enumerate(self.sizes, 1)}
        members = [key.member() for key in update.windows]
        keys = [self._key(shard, name) for name in ("state", "open", "dirty", "top")]
        keys += [self._index(shard, size) for size in self.sizes]
        prefix = self._window_key(shard, "")
        keys += [prefix + member for member in members]
        # Windows share deltas, and each delta is sent once. Identities are enough to find those that are shared.
        deltas = {id(delta): delta for delta in update.windows.values()}
        place = {identity: number for number, identity in enumerate(deltas, 1)}
        # One JSON argument: the client takes longer to send thousands of arguments than Redis takes to decode this one.
        content = {
            "sizes": len(self.sizes),
            # The first three are text, as Redis stores them, because the script compares them.
            "positions": [
                (str(partition), "" if expected.offset < 0 else str(expected.offset), str(expected.fence), *new)
                for partition, (expected, new) in update.positions.items()
            ],
            "deltas": list(deltas.values()),
            "windows": [
                (member, key.size, ordinal[key.size], key.end, key.keyword == ALL_KEYWORDS, place[id(delta)])
                for member, (key, delta) in zip(members, update.windows.items(), strict=True)
            ],
            "late": update.too_late,
            "duplicates": update.duplicates,
        }
        with redis_errors("applying a batch to the windows"):
            applied, partition, stored = await self._apply(keys=keys, args=[to_json(content)])
        if applied == _SEALED:
            raise SealedError
        if applied:
            return None
        return int(partition), int(stored) if stored else -1

    async def times(self, shard: int) -> ShardTimes:
        """Returns the part of a shard's state that the emitter needs."""
        keys = [self._key(shard, name) for name in ("state", "dirty", "open")]
        keys += [self._index(shard, size) for size in self.sizes]
        with redis_errors("reading event times"):
            seconds, micros, flat, dirty, (first_open, *first_kept) = await self._times(keys=keys)
        now = int(seconds) + int(micros) / 1e6
        state: dict[str, str] = dict(zip(flat[::2], flat[1::2], strict=True))
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
            sealed=int(state.get("sealed_until", 0)) > now * 1_000,
            dirty=dirty,
            first_open=int(first_open) if first_open else None,
            first_kept={size: int(end) for size, end in zip(self.sizes, first_kept, strict=True) if end},
        )

    async def sealed(self, shard: int) -> bool:
        """Returns whether a shard is sealed: nothing may change in it now."""
        return (await self.times(shard)).sealed

    async def finalize(self, shard: int, watermark_ms: int, limit: int = 500) -> int:
        """Mark up to `limit` windows that end at or before the watermark as final. Returns how many were marked."""
        with redis_errors("finalizing windows"):
            members: list[str] = await self._redis.zrange(
                self._key(shard, "open"), "-inf", watermark_ms, byscore=True, offset=0, num=limit
            )
            return await self._pass_watermark(shard, watermark_ms, members)

    async def note_watermark(self, shard: int, watermark_ms: int) -> None:
        """Store a watermark without finalizing windows."""
        with redis_errors("storing the watermark"):
            await self._pass_watermark(shard, watermark_ms, [])

    async def _pass_watermark(self, shard: int, watermark_ms: int, members: Sequence[str]) -> int:
        keys = [self._key(shard, name) for name in ("state", "open", "dirty")]
        keys += [self._window_key(shard, member) for member in members]
        marked: int = await self._finalize(keys=keys, args=[watermark_ms, *members])
        return marked

    async def expire(self, shard: int, size: int, before_ms: int, limit: int = 500) -> int:
        """Remove up to `limit` published windows of a size that end at or before a time. Returns how many were removed.

        A window that is dirty is kept until it is published.
        """
        names = [
            self._key(shard, "state"),
            self._index(shard, size),
            self._key(shard, "open"),
            self._key(shard, "dirty"),
        ]
        with redis_errors("expiring windows"):
            members: list[str] = await self._redis.zrange(
                names[1], "-inf", before_ms, byscore=True, offset=0, num=limit
            )
            if not members:
                return 0
            args: list[str | int] = [size, before_ms]
            for member in members:
                args += [member, 1 if WindowKey.parse(member).keyword == ALL_KEYWORDS else 0]
            keys = names + [self._window_key(shard, member) for member in members]
            removed: int = await self._expire(keys=keys, args=args)
        return removed

    async def dirty(self, shard: int, limit: int, sizes: Sequence[int] | None = None) -> list[Row]:
        """Returns dirty windows: those that changed since they were last published, at most `limit`.

        It returns only windows of `sizes` (in seconds; None for all), unless more than `DIRTY_BACKLOG` are dirty.
        Windows that no longer exist have no fields.
        """
        args = [limit, DIRTY_BACKLOG, *(self.sizes if sizes is None else sizes)]
        with redis_errors("reading changed windows"):
            members: list[str] = await self._dirty(keys=[self._key(shard, "dirty")], args=args)
            return await self._read_rows(shard, members)

    async def clear_dirty(self, shard: int, rows: Sequence[Row]) -> None:
        """Clear the dirty marks of the windows that still have the revision that they have in `rows`."""
        revisions = [(key.member(), row.get("rev", "")) for key, row in rows]
        keys = [self._key(shard, "dirty"), *(self._window_key(shard, member) for member, _ in revisions)]
        with redis_errors("clearing published windows"):
            await self._clear_dirty(keys=keys, args=[to_json(revisions)])

    async def mark_all_dirty(self, shard: int) -> int:
        """Mark all windows as dirty, so that they are published again. Returns how many there are."""
        dirty, marked = self._key(shard, "dirty"), 0
        with redis_errors("marking windows"):
            for size in self.sizes:
                members = await self._latest_members(self._index(shard, size), None, None)
                marked += len(members)
                for start in range(0, len(members), 1_000):
                    await self._redis.sadd(dirty, *members[start : start + 1_000])
        return marked

    async def dirty_count(self, shard: int) -> int:
        """Returns the number of dirty windows."""
        with redis_errors("reading changed windows"):
            count: int = await self._redis.scard(self._key(shard, "dirty"))
        return count
