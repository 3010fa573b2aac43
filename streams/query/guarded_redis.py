"""Redis for a cache: a command has its reply within a fraction of a second, or fails, and an outage costs few waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from redis.exceptions import ResponseError

from connectors.errors import ConnectorError, UnavailableError
from connectors.redis import RedisClient, redis_errors
from streams.query.circuit_breaker import CircuitBreaker
from streams.query.metrics import CacheMetrics
from streams.query.time_limit import time_limit

logger = logging.getLogger(__name__)

T = TypeVar("T")

Operation = Literal["read", "write", "lock"]

LIMIT_S = 0.25
"""Seconds for one command, or for connecting and one command. Redis mostly replies within a millisecond."""

MOST_COMMANDS = 16
"""Most writes and commands for locks at a time, each of which has a connection. Reads are few, and do not wait."""

_DOING: dict[Operation, str] = {
    "read": "reading an answer from the cache",
    "write": "storing an answer in the cache",
    "lock": "locking an answer in the cache",
}


class GuardedRedis:
    """Runs the commands of the cache.

    After a command without a reply, a circuit breaker refuses further ones for a short time, so that only few requests
    wait for a server that is away. An error that Redis replied does not open the breaker.

    Args:
        client: A client that decodes no replies, with 0 retries. The caller closes it.
        limit_s: Seconds for one command.
    """

    def __init__(
        self,
        client: RedisClient,
        metrics: CacheMetrics,
        *,
        limit_s: float = LIMIT_S,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._client = client
        self._failures = metrics.redis_failures
        self._limit_s = limit_s
        self._breaker = breaker or CircuitBreaker()
        self._places = asyncio.Semaphore(MOST_COMMANDS)
        self._refused: set[Operation] = set()  # those whose last reply was an error

    async def call(self, operation: Operation, command: Callable[[RedisClient], Awaitable[T]]) -> T:
        """Run one command. A failure is counted by `operation`.

        While `MOST_COMMANDS` are under way, a further one waits. If one of them has no reply, it fails at once.

        Raises:
            UnavailableError: Redis did not reply within `limit_s`, cannot do it now, or was away moments ago. The
                command may have had its effect nevertheless.
            RejectedError: Redis rejected the command.
        """
        if operation == "read":
            return await self._call(operation, command)
        async with self._places:
            return await self._call(operation, command)

    async def _call(self, operation: Operation, command: Callable[[RedisClient], Awaitable[T]]) -> T:
        if not self._breaker.allows():
            self._failures.labels(operation).inc()
            raise UnavailableError(f"Redis was not asked while {_DOING[operation]}: it did not reply moments ago")
        try:
            with redis_errors(_DOING[operation]):
                async with time_limit(self._limit_s):
                    reply = await command(self._client)
        except TimeoutError as exc:
            self._failures.labels(operation).inc()
            late = UnavailableError(f"Redis did not answer while {_DOING[operation]}: no reply in {self._limit_s:g} s")
            self._no_reply(late)
            raise late from exc
        except ConnectorError as exc:
            self._failures.labels(operation).inc()
            if isinstance(exc.__cause__, ResponseError):
                self._replied()
                self._log_refusal(operation, exc)
            else:
                self._no_reply(exc)
            raise
        except BaseException:
            self._breaker.cancelled()
            raise
        self._replied()
        self._refused.discard(operation)
        return reply

    def _log_refusal(self, operation: Operation, error: ConnectorError) -> None:
        if operation not in self._refused:  # once, and not for every answer
            self._refused.add(operation)
            logger.warning("the cache of answers does not work: %s", error)

    def _no_reply(self, error: ConnectorError) -> None:
        if self._breaker.is_closed:
            logger.warning("answers are computed without the cache: %s", error)
        self._breaker.failed()

    def _replied(self) -> None:
        if not self._breaker.is_closed:
            logger.info("the cache of answers is back")
            self._breaker.succeeded()
