"""Connects to the window tables in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from connectors.redis import RedisClient, connect
from streams.settings import Settings
from streams.windows.reader import WindowReader
from streams.windows.store import WindowStore


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[WindowStore]:
    """Open the window tables of the current generation, and close the connection at the end.

    Raises:
        ConnectorError: Redis did not answer, or rejected the call.
    """
    store = WindowStore(redis_client(settings), **_tables(settings))
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


def window_reader(client: RedisClient, settings: Settings) -> WindowReader:
    """Returns a reader of generation 0 of the window tables; `WindowReader.refresh` changes it to the current one."""
    return WindowReader(client, **_tables(settings))


def _tables(settings: Settings) -> dict[str, Any]:
    return {
        "prefix": settings.redis_prefix,
        "shards": settings.shards,
        "sizes": [size.seconds for size in settings.window_sizes],
    }
