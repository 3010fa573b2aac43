"""Opens the window tables that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from connectors.redis import connect
from streams.settings import Settings
from streams.windows.store import WindowStore


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[WindowStore]:
    """The window tables, closed at the end; connects with the first request."""
    client = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
    store = WindowStore(
        client,
        prefix=settings.redis_prefix,
        shards=settings.shards,
        sizes=[size.seconds for size in settings.window_sizes],
    )
    try:
        yield store
    finally:
        await store.close()
