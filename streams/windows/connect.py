"""Connects to the window tables in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connectors.redis import connect
from streams.settings import Settings
from streams.windows.store import WindowStore


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[WindowStore]:
    """Open the window tables of the current generation, and close the connection at the end.

    Raises:
        ConnectorError: Redis did not answer, or rejected the call.
    """
    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
    store = WindowStore(
        client,
        prefix=settings.redis_prefix,
        shards=settings.shards,
        sizes=[size.seconds for size in settings.window_sizes],
    )
    try:
        await store.refresh()
        yield store
    finally:
        await store.close()
