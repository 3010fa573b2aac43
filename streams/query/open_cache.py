"""Opens the cache of answers in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connectors.redis import connect
from streams.query.answer_store import AnswerStore
from streams.query.guarded_redis import GuardedRedis
from streams.query.lock import AnswerLocks
from streams.query.metrics import CacheMetrics
from streams.query.read_through import ReadThroughCache
from streams.settings import Settings


@asynccontextmanager
async def open_cache(settings: Settings, metrics: CacheMetrics) -> AsyncIterator[ReadThroughCache]:
    """Open the cache of answers; at the end, end its computations, free its locks and close its connections.

    It opens while Redis is away, too, and works once Redis is back.

    Raises:
        RejectedError: The query part of the Redis address is wrong.
    """
    cluster = settings.redis_cluster
    client = connect(
        settings.redis_url.get_secret_value(), cluster=cluster, decode=False, retries=None if cluster else 0
    )
    redis = GuardedRedis(client, metrics)
    store = AnswerStore(redis, metrics, keep_s=settings.query_cache_s, fresh_s=settings.query_fresh_s)
    cache = ReadThroughCache(store, AnswerLocks(redis), metrics)
    try:
        yield cache
    finally:
        await cache.close()
        await client.aclose()
