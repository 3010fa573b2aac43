"""Connects to the window tables in Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from connectors.redis import connect
from streams.settings import Settings
from streams.windows.reader import WindowReader
from streams.windows.store import WindowStore


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[WindowStore]:
    """Open the window tables of the current generation, and close the connection at the end.

    Raises:
        ConnectorError: Redis did not answer, or rejected the call.
    """
    store = WindowStore(**_arguments(settings))
    try:
        await store.refresh()
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[WindowReader]:
    """Open a reader of the window tables, and close its connection at the end. Redis need not answer yet.

    The reader begins with generation 0; `WindowReader.refresh` changes it to the current one.

    Raises:
        RejectedError: An option in the address is wrong.
    """
    reader = WindowReader(**_arguments(settings))
    try:
        yield reader
    finally:
        await reader.close()


def _arguments(settings: Settings) -> dict[str, Any]:
    return {
        "client": connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster),
        "prefix": settings.redis_prefix,
        "shards": settings.shards,
        "sizes": [size.seconds for size in settings.window_sizes],
    }
