"""Changes window tables in ways that only a rebuild needs: leases, generations, carrying windows over, and removal.

Every call may be repeated, as the Redis client does after an answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from connectors.redis import RedisClient, redis_errors
from streams.errors import TopologyError
from streams.windows.reader import script
from streams.windows.store import WindowStore
from streams.windows.tumbling import WindowKey


class TableEditor(WindowStore):
    """The window tables of one generation."""

    def __init__(self, client: RedisClient, *, prefix: str, shards: int, sizes: Sequence[int]) -> None:
        """Create an editor; see `WindowReader`."""
        super().__init__(client, prefix=prefix, shards=shards, sizes=sizes)
        self._carry = client.register_script(script("carry"))
        self._lease = client.register_script(script("lease"))
        self._switch = client.register_script(script("switch"))

    @classmethod
    def of(cls, store: WindowStore) -> Self:
        """Returns an editor of the store's tables, over the store's connection. Only the store closes it."""
        editor = cls(store._redis, prefix=store._prefix, shards=store.shards, sizes=store.sizes)
        editor.generation = store.generation
        return editor

    async def lease(self, shard: int | None, name: str, owner: str, length_ms: int, action: str) -> tuple[bool, int]:
        """Take, renew or release a lease; see `lua/lease.lua`.

        Args:
            shard: the shard whose state has the lease; None for the lease on all window tables.
            name: the name of the lease.
            owner: who takes, renews or releases the lease.
            length_ms: how long the owner holds the lease, in milliseconds.
            action: `take`, `renew` or `release`.

        Returns:
            True and the time until which the owner holds the lease, on the server's clock; or False and how long
            another owner may hold it. Both are in milliseconds.
        """
        key = self._meta if shard is None else self._key(shard, "state")
        with redis_errors("changing a lease on the window tables"):
            done, until = await self._lease(keys=[key], args=[name, owner, length_ms, action])
        return bool(done), int(until)

    async def garbage(self) -> int | None:
        """Returns the generation that is to be removed; None if there is none."""
        with redis_errors("reading the window tables"):
            stored: str | None = await self._redis.hget(self._meta, "garbage")
        return None if stored is None else int(stored)

    async def next_generation(self) -> int:
        """Returns a number that no generation has had. It is garbage until its tables become the current ones."""
        with redis_errors("numbering a generation of the window tables"):
            number: int = await self._redis.hincrby(self._meta, "generations", 1)
            while number <= self.generation:
                number = await self._redis.hincrby(self._meta, "generations", 1)
            await self._redis.hset(self._meta, "garbage", number)
        return number

    async def forget_garbage(self) -> None:
        """Record that these tables are removed. Does nothing if `garbage` names another generation."""
        if await self.garbage() == self.generation:
            with redis_errors("removing window tables"):
                await self._redis.hdel(self._meta, "garbage")

    async def switch(self, owner: str, generation: int, deadline_ms: int) -> bool:
        """Make another generation the current one. Returns False if the deadline on the server's clock has passed.

        It also returns False if `owner` has lost the lease of the rebuild, or these tables are not the current ones.
        """
        with redis_errors("switching the window tables"):
            done: int = await self._switch(keys=[self._meta], args=[owner, self.generation, generation, deadline_ms])
        return bool(done)

    async def state(self, shard: int) -> dict[str, str]:
        """Returns all fields of a shard's state."""
        with redis_errors("reading the window tables"):
            found: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
        return found

    async def set_state(self, shard: int, fields: Mapping[str, str]) -> None:
        """Set fields of a shard's state."""
        with redis_errors("finishing the rebuilt tables"):
            await self._redis.hset(self._key(shard, "state"), mapping=dict(fields))

    async def expire_state(self, shard: int, after_ms: int) -> None:
        """Let Redis remove a shard's state after a time. Until then the shard is sealed."""
        name = self._key(shard, "state")
        with redis_errors("removing window tables"):
            await self._redis.pexpire(name, after_ms)

    async def members(self, shard: int, size: int, start: int, count: int) -> list[WindowKey]:
        """Returns a page of a shard's windows of a size, sorted by end."""
        with redis_errors("reading windows"):
            names = await self._redis.zrange(self._index(shard, size), start, start + count - 1)
        return [WindowKey.parse(name) for name in names]

    async def ended(self, shard: int, size: int, before_ms: int) -> list[WindowKey]:
        """Returns a shard's windows of a size that end at or before a time."""
        with redis_errors("reading windows"):
            names = await self._redis.zrange(self._index(shard, size), "-inf", before_ms, byscore=True)
        return [WindowKey.parse(name) for name in names]

    async def posts(self, shard: int, windows: Sequence[WindowKey]) -> list[int | None]:
        """Returns the number of posts of each window; None if there is no such window."""
        with redis_errors("reading windows"):
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in windows:
                    pipe.hget(self._window_key(shard, key.member()), "n")
                found: list[str | None] = await pipe.execute() if windows else []
        return [None if posts is None else int(posts) for posts in found]

    async def carry(self, old: WindowStore, shard: int, size: int, windows: Sequence[WindowKey], action: str) -> int:
        """Carry windows of a size over from the old tables.

        `action` is `reconcile`, `copy` or `empty`; see `lua/carry.lua`.

        Returns:
            How many windows changed.

        Raises:
            TopologyError: These tables no longer exist.
        """
        keys = [self._key(shard, name) for name in ("state", "open", "dirty")]
        keys += [self._index(shard, size), old._key(shard, "dirty")]
        args: list[str | int] = [action]
        for key in windows:
            member = key.member()
            keys += [self._window_key(shard, member), old._window_key(shard, member)]
            args += [member, key.end]
        with redis_errors("carrying windows over to the rebuilt tables"):
            changed: int = await self._carry(keys=keys, args=args)
        if changed < 0:
            raise TopologyError(
                "the rebuilt tables are gone: another rebuild has taken over, or Redis lost data; run the rebuild again"
            )
        return changed

    async def drop(self, shard: int, size: int, windows: Sequence[WindowKey]) -> None:
        """Remove windows of a size, even if they are not published."""
        members = [key.member() for key in windows]
        with redis_errors("removing windows"):
            await self._redis.unlink(*(self._window_key(shard, member) for member in members))
            for name in ("open", f"index:{size}"):
                await self._redis.zrem(self._key(shard, name), *members)
            await self._redis.srem(self._key(shard, "dirty"), *members)

    async def clear(self, *, state: bool = True) -> None:
        """Remove these tables, a page at a time. They must not be the current ones.

        If `state` is set, the states of the shards are removed too, and first, so that nothing can be applied any more.
        """
        for shard in range(self.shards):
            if state:
                await self._unlink(shard, "state")
            for size in self.sizes:
                while found := await self.members(shard, size, 0, _PAGE):
                    await self.drop(shard, size, found)
            for name in ("open", "dirty", "top"):
                await self._unlink(shard, name)

    async def _unlink(self, shard: int, name: str) -> None:
        with redis_errors("removing window tables"):
            await self._redis.unlink(self._key(shard, name))


_PAGE = 1_000
"""Windows removed in one round trip."""
