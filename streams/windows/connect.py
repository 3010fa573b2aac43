"""Connects to the window tables in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from connectors.redis import RedisClient, connect
from streams.settings import Settings
from streams.windows.store import WindowStore


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[WindowStore]:
    """Open the window tables of the current generation, and close the connection at the end.

    Raises:
        ConnectorError: Redis did not answer, or rejected the call.
    """
    store = WindowStore(redis_client(settings), **table_arguments(settings))
    try:
        await store.refresh()
        yield store
    finally:
        await store.close()


def redis_client(settings: Settings) -> RedisClient:
    """Returns a client of the windows' Redis. It connects with its first command.

    Raises:
        RejectedError: An option in the address is wrong.
    """
    return connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)


def table_arguments(settings: Settings) -> dict[str, Any]:
    """Returns the arguments of a `WindowReader` beside its client."""
    return {
        "prefix": settings.redis_prefix,
        "shards": settings.shards,
        "sizes": [size.seconds for size in settings.window_sizes],
    }
