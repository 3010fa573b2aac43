"""A cache of answers on a Valkey server of the test's own, in this process and in others."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from connectors.deadline import Deadline
from connectors.redis import connect
from streams.query.answer_store import AnswerStore
from streams.query.circuit_breaker import CircuitBreaker
from streams.query.guarded_redis import GuardedRedis
from streams.query.lock import AnswerLocks
from streams.query.metrics import CacheMetrics
from streams.query.read_through import CachedAnswer, ReadThroughCache
from tests.integration.support import TIMEOUT_S

KEY = "t:answer:1"
LOCK = f"{KEY}:lock"
CALLERS = 100
PATIENT_S = 30.0
"""Seconds for a command: in tests in which Redis works, a slow machine must not look like an outage."""

_CONTEXT = multiprocessing.get_context("forkserver")


class Cache:
    """The parts of a cache in one process."""

    def __init__(
        self, answers: ReadThroughCache, store: AnswerStore, locks: AnswerLocks, metrics: CacheMetrics
    ) -> None:
        self.answers = answers
        self.store = store
        self.locks = locks
        self.metrics = metrics

    def count(self, name: str, **labels: str) -> float:
        """Returns the value of a counter `emostream_cache_<name>_total`, 0 if it was never counted."""
        return self.metrics.registry.get_sample_value(f"emostream_cache_{name}_total", labels) or 0


@asynccontextmanager
async def opened(
    url: str,
    *,
    cluster: bool = False,
    keep_s: float = 3_600,
    fresh_s: float = 3_600,
    hold_s: float = 10,
    grace_s: float = 2,
    pause_s: float = 1,
    limit_s: float = PATIENT_S,
    max_bytes: int = 1_000,
    breaker: CircuitBreaker | None = None,
) -> AsyncIterator[Cache]:
    """Open a cache as `open_cache` does, with other limits."""
    client = connect(url, cluster=cluster, decode=False, retries=None if cluster else 0)
    metrics = CacheMetrics(CollectorRegistry())
    redis = GuardedRedis(client, metrics, limit_s=limit_s, breaker=breaker)
    store = AnswerStore(redis, metrics, keep_s=keep_s, fresh_s=fresh_s, max_bytes=max_bytes)
    locks = AnswerLocks(redis, hold_s=hold_s)
    answers = ReadThroughCache(store, locks, metrics, answer_grace_s=grace_s, pause_s=pause_s)
    try:
        yield Cache(answers, store, locks, metrics)
    finally:
        await answers.close()
        await client.aclose()


class Backend:
    """Computes answers `answer-1`, `answer-2`, … Each waits until it is let go, if `held`, or raises `error`."""

    def __init__(self, *, held: bool = False) -> None:
        self.computed = 0
        self.error: Exception | None = None
        self.go = asyncio.Event()
        if not held:
            self.go.set()

    async def __call__(self) -> bytes:
        self.computed += 1
        number = self.computed
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return b"answer-%d" % number


class AskingProcess:
    """A process that asks the same question `CALLERS` times at once, when the answer in Redis has expired.

    The back end is in Redis, so that all processes share it: the list `computations` has a line `<pid> <ms>` for each
    computation that began, and a computation ends once the key `go` exists. The list `answers` has the answers, or the
    errors, of all callers; the counter `asking` says how many have begun.
    """

    def __init__(self, url: str, hold_s: float) -> None:
        self._process: BaseProcess = _CONTEXT.Process(target=_ask, args=(url, hold_s), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def join(self) -> int | None:
        """Wait for the end of the process, and return its exit code."""
        self._process.join(TIMEOUT_S)
        return self._process.exitcode

    def kill(self) -> None:
        """Kill the process with SIGKILL if it runs."""
        self._process.kill()
        self._process.join()


def _ask(url: str, hold_s: float) -> None:
    try:
        asyncio.run(_ask_many(url, hold_s))
    except BaseException:
        traceback.print_exc()
        raise


async def _ask_many(url: str, hold_s: float) -> None:
    redis: Redis = Redis.from_url(url, decode_responses=True)

    async def compute() -> bytes:
        seconds, microseconds = await redis.time()
        await redis.rpush("computations", f"{os.getpid()} {seconds * 1_000 + microseconds // 1_000}")
        while not await redis.exists("go"):  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)
        return b"answer of %d" % os.getpid()

    async def ask(cache: Cache) -> CachedAnswer:
        return await cache.answers.get(KEY, compute, deadline=Deadline(TIMEOUT_S))

    async with opened(url, hold_s=hold_s) as cache, contextlib.aclosing(redis):
        await cache.store.read(KEY)  # connects
        await redis.incr("ready")
        while await redis.exists(KEY):
            pass
        callers = [asyncio.create_task(ask(cache)) for _ in range(CALLERS)]
        await asyncio.sleep(0)
        await redis.incrby("asking", CALLERS)
        for answer in await asyncio.gather(*callers):
            await redis.rpush("answers", answer.value)
