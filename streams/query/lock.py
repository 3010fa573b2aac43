"""Locks in Redis, by which of all processes only one computes an answer.

A lock saves work and guarantees nothing: a process that stalls for longer than the lock's time, and a failover of
Redis, let a second process compute the same answer. Both then store an answer that is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from types import TracebackType
from typing import Any, Self

from connectors.errors import ConnectorError
from connectors.redis import RedisClient
from streams.query.guarded_redis import GuardedRedis

logger = logging.getLogger(__name__)

HOLD_S = 10.0
"""Seconds after which Redis frees the lock of a holder that has died."""

RENEWALS = 3
"""Renewals within this time. Two of them may fail."""

# Compare and delete, as the documentation of the command SET has it: a holder whose lock has expired must not free the
# lock of its successor.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_EXTEND = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"


class HeldLock:
    """A lock that this process holds. As a context manager it renews the lock, and frees it at the end."""

    def __init__(self, redis: GuardedRedis, key: str, token: str, hold_s: float) -> None:
        self._redis = redis
        self._key = key
        self._token = token
        self._hold_s = hold_s
        self._free_after_s = 0.0

    def free_after(self, seconds: float) -> None:
        """Let the lock be free only some seconds after the end, so that nobody tries the same again at once."""
        self._free_after_s = seconds

    async def __aenter__(self) -> Self:
        self._renewals = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._renewals.cancel()
        await asyncio.wait([self._renewals])
        with contextlib.suppress(ConnectorError):  # counted; the lock expires by itself
            if self._free_after_s:
                await self._extend(self._free_after_s)
            else:
                await self._run(_RELEASE)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._hold_s / RENEWALS)
            with contextlib.suppress(ConnectorError):  # counted; tried again
                if not await self._extend(self._hold_s):
                    logger.warning("the lock of an answer was lost; another process may compute the same answer")
                    return

    async def _extend(self, seconds: float) -> bool:
        return bool(await self._run(_EXTEND, max(1, round(seconds * 1_000))))

    async def _run(self, script: str, *arguments: int) -> int:
        async def command(client: RedisClient) -> Any:  # noqa: ANN401 - redis-py has no type for replies
            return await client.eval(script, 1, self._key, self._token, *arguments)

        changed: int = await self._redis.call("lock", command)
        return changed


class AnswerLocks:
    """Acquires locks by the key of the answer.

    Args:
        hold_s: Seconds after which Redis frees the lock of a holder that has died.
    """

    def __init__(self, redis: GuardedRedis, *, hold_s: float = HOLD_S) -> None:
        self._redis = redis
        self._hold_s = hold_s

    async def acquire(self, key: str) -> HeldLock | None:
        """Returns the lock, which expires by itself after `hold_s`; None if another one holds it.

        Raises:
            ConnectorError: Redis did not answer in time, or rejected the command.
        """
        lock_key, token = f"{key}:lock", secrets.token_hex(16)
        expiry = round(self._hold_s * 1_000)
        acquired = await self._redis.call("lock", lambda client: client.set(lock_key, token, nx=True, px=expiry))
        return HeldLock(self._redis, lock_key, token, self._hold_s) if acquired else None
