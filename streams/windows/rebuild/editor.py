"""What a rebuild does to window tables in Redis beyond counting: leases, generations, carrying windows over, removing.

Every call may be repeated, as the client does where an answer was lost.
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
        """Open the tables; see `WindowReader`."""
        super().__init__(client, prefix=prefix, shards=shards, sizes=sizes)
        self._carry = client.register_script(script("carry"))
        self._lease = client.register_script(script("lease"))
        self._switch = client.register_script(script("switch"))

    @classmethod
    def of(cls, store: WindowStore) -> Self:
        """The same tables over the same connection, which stays the store's to close."""
        editor = cls(store._redis, prefix=store._prefix, shards=store.shards, sizes=store.sizes)
        editor.generation = store.generation
        return editor

    async def lease(self, shard: int | None, name: str, owner: str, length_ms: int, action: str) -> tuple[bool, int]:
        """Take, renew or release a lease; see `lua/lease.lua`.

        Args:
            shard: in whose state it is; None for that of the tables as a whole.
            name: of the lease.
            owner: who asks.
            length_ms: from now, in milliseconds.
            action: `take`, `renew` or `release`.

        Returns:
            Whether it is done; then until when, on the server's clock, else for how long another may hold it; both in
            milliseconds.
        """
        key = self._meta if shard is None else self._key(shard, "state")
        with redis_errors("agreeing on who may rebuild the window tables"):
            done, until = await self._lease(keys=[key], args=[name, owner, length_ms, action])
        return bool(done), int(until)

    async def garbage(self) -> int | None:
        """The generation that is to be removed; None for none."""
        with redis_errors("reading the window tables"):
            stored: str | None = await self._redis.hget(self._meta, "garbage")
        return None if stored is None else int(stored)

    async def next_generation(self) -> int:
        """A number that no tables had before; noted as garbage until its tables come into force."""
        with redis_errors("numbering the window tables"):
            number: int = await self._redis.hincrby(self._meta, "generations", 1)
            while number <= self.generation:
                number = await self._redis.hincrby(self._meta, "generations", 1)
            await self._redis.hset(self._meta, "garbage", number)
        return number

    async def forget_garbage(self) -> None:
        """These tables are removed; what another rebuild may have noted since stays noted."""
        if await self.garbage() == self.generation:
            with redis_errors("removing window tables"):
                await self._redis.hdel(self._meta, "garbage")

    async def switch(self, owner: str, generation: int, deadline_ms: int) -> bool:
        """Put other tables in force in place of these; whether it was done by then, on the server's clock."""
        with redis_errors("switching the window tables"):
            done: int = await self._switch(keys=[self._meta], args=[owner, self.generation, generation, deadline_ms])
        return bool(done)

    async def state(self, shard: int) -> dict[str, str]:
        """All fields of a shard's state."""
        with redis_errors("reading the window tables"):
            found: dict[str, str] = await self._redis.hgetall(self._key(shard, "state"))
        return found

    async def set_state(self, shard: int, fields: Mapping[str, str]) -> None:
        """Set fields of a shard's state."""
        with redis_errors("finishing the rebuilt tables"):
            await self._redis.hset(self._key(shard, "state"), mapping=dict(fields))

    async def expire_state(self, shard: int, after_ms: int) -> None:
        """Remove a shard's state in a while; until then it is sealed."""
        name = self._key(shard, "state")
        with redis_errors("removing window tables"):
            await self._redis.pexpire(name, after_ms)

    async def members(self, shard: int, size: int, start: int, count: int) -> list[WindowKey]:
        """A page of a shard's windows of a size, by end."""
        with redis_errors("reading windows"):
            names = await self._redis.zrange(self._index(shard, size), start, start + count - 1)
        return [WindowKey.parse(name) for name in names]

    async def ended(self, shard: int, size: int, before_ms: int) -> list[WindowKey]:
        """A shard's windows of a size that ended at or before a time."""
        with redis_errors("reading windows"):
            names = await self._redis.zrange(self._index(shard, size), "-inf", before_ms, byscore=True)
        return [WindowKey.parse(name) for name in names]

    async def posts(self, shard: int, windows: Sequence[WindowKey]) -> list[int | None]:
        """How many posts each window holds; None where there is no such window."""
        with redis_errors("reading windows"):
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in windows:
                    pipe.hget(self._window_key(shard, key.member()), "n")
                found: list[str | None] = await pipe.execute() if windows else []
        return [None if posts is None else int(posts) for posts in found]

    async def carry(self, old: WindowStore, shard: int, size: int, windows: Sequence[WindowKey], action: str) -> int:
        """Carry windows of a size over from older tables: `reconcile`, `copy` or `empty` them (`lua/carry.lua`).

        Returns:
            How many changed.

        Raises:
            TopologyError: somebody has removed these tables.
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
            raise TopologyError("the rebuilt tables are gone: another rebuild has taken over, or Redis lost its data")
        return changed

    async def drop(self, shard: int, size: int, windows: Sequence[WindowKey]) -> None:
        """Remove windows of a size, unpublished as they may be."""
        members = [key.member() for key in windows]
        with redis_errors("removing windows"):
            await self._redis.unlink(*(self._window_key(shard, member) for member in members))
            for name in ("open", f"index:{size}"):
                await self._redis.zrem(self._key(shard, name), *members)
            await self._redis.srem(self._key(shard, "dirty"), *members)

    async def clear(self, *, state: bool = True) -> None:
        """Remove these tables, a page at a time; they must not be in force.

        Args:
            state: whether the shards' states go too; first of all, so that nothing more can be written.
        """
        for shard in range(self.shards):
            if state:
                await self._unlink(shard, "state")
            for size in self.sizes:
                while found := await self.members(shard, size, 0, _PAGE):
                    await self.drop(shard, size, found)
            for name in ("open", "dirty"):
                await self._unlink(shard, name)

    async def _unlink(self, shard: int, name: str) -> None:
        with redis_errors("removing window tables"):
            await self._redis.unlink(self._key(shard, name))


_PAGE = 1_000
"""Windows removed in one round trip."""
