"""The answers in Redis: bytes with the time at which they were made."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import RedisCluster

from connectors.errors import ConnectorError
from connectors.redis import RedisClient
from streams.query.coalescer import ReadCoalescer
from streams.query.guarded_redis import GuardedRedis
from streams.query.metrics import CacheMetrics

MAX_ANSWER_BYTES = 262_144
"""Most bytes of an answer that is stored. An answer with a picture has some 50,000."""

JITTER = 0.1
"""Share by which the time that an answer stays varies, so that answers made together do not expire together."""

_LAYOUT = 1
_HEAD = struct.Struct(">Bq")  # layout, ms since 1970


class Entry(NamedTuple):
    """An answer, and when it was made, in ms since 1970."""

    value: bytes
    made_at_ms: int


def expiry_ms(keep_s: float, uniform: Callable[[float, float], float] = random.uniform) -> int:
    """Returns for how many ms an answer stays: `keep_s`, up to `JITTER` more or less, and at least 1 ms."""
    return max(1, round(keep_s * 1_000 * uniform(1 - JITTER, 1 + JITTER)))


def encode(entry: Entry) -> bytes:
    """Returns the value that Redis holds."""
    return _HEAD.pack(_LAYOUT, entry.made_at_ms) + entry.value


def decode(stored: bytes) -> Entry | None:
    """Returns the entry of a value in Redis; None if another program has written the value."""
    if len(stored) < _HEAD.size or stored[0] != _LAYOUT:
        return None
    return Entry(stored[_HEAD.size :], _HEAD.unpack_from(stored)[1])


class AnswerStore:
    """Reads and stores answers.

    On a Redis Cluster the keys lie on all masters. While one of them is away, reads of all keys fail.

    Args:
        keep_s: Seconds that an answer stays.
        fresh_s: Seconds after which an answer is stale.
        max_bytes: Most bytes of an answer that is stored.
        clock: Seconds since 1970.
        uniform: Returns a random number between its arguments.
    """

    def __init__(
        self,
        redis: GuardedRedis,
        metrics: CacheMetrics,
        *,
        keep_s: float,
        fresh_s: float,
        max_bytes: int = MAX_ANSWER_BYTES,
        clock: Callable[[], float] = time.time,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._redis = redis
        self._metrics = metrics
        self._keep_s = keep_s
        self._fresh_ms = fresh_s * 1_000
        self._max_bytes = max_bytes
        self._clock = clock
        self._uniform = uniform
        self._reads = ReadCoalescer(self._fetch, on_coalesced=metrics.coalesced.inc)

    async def read(self, key: str) -> Entry | None:
        """Returns the answer of a key, fresh or stale; None if there is none that can be read.

        Raises:
            ConnectorError: Redis did not answer in time, or rejected the read.
        """
        stored = await self._reads.read(key)
        if stored is None:
            return None
        entry = decode(stored)
        if entry is None:
            self._metrics.unreadable.inc()
        return entry

    def is_fresh(self, entry: Entry) -> bool:
        """Returns whether an answer need not be computed again yet."""
        return self._clock() * 1_000 - entry.made_at_ms < self._fresh_ms

    def made_now(self, value: bytes) -> Entry:
        """Returns the entry of an answer that was made at this moment."""
        return Entry(value, round(self._clock() * 1_000))

    async def write(self, key: str, entry: Entry, *, keep_s: float | None = None) -> bool:
        """Store an answer. Returns whether it is stored; if not, the cause is counted, and the key has what it had.

        It stays for `keep_s` seconds if these are fewer than those of the cache.
        """
        if len(entry.value) > self._max_bytes:
            self._metrics.too_large.inc()
            return False
        expiry = expiry_ms(self._keep_s if keep_s is None else min(keep_s, self._keep_s), self._uniform)
        try:
            await self._redis.call("write", lambda client: client.set(key, encode(entry), px=expiry))
        except ConnectorError:
            return False
        return True

    async def close(self) -> None:
        """End the reads that are under way."""
        await self._reads.close()

    async def _fetch(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        async def command(client: RedisClient) -> Any:  # noqa: ANN401 - redis-py has no type for replies
            if isinstance(client, RedisCluster):
                return await client.mget_nonatomic(list(keys))
            return await client.mget(keys)

        found: list[bytes | None] = await self._redis.call("read", command)
        return found
