"""Reads the source of X from its local server, in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from connectors.sources.x import XOptions, XSource
from tests.source_servers.reading import Reading, reading
from tests.source_servers.x import TOKEN, XServer

TAG = "emostream:test"
STREAM, RULES, SEARCH = "/2/tweets/search/stream", "/2/tweets/search/stream/rules", "/2/tweets/search/recent"


def source(server: XServer, *keywords: str, follow: Callable[[], Sequence[str]] | None = None, **more: Any) -> XSource:
    """A source with fixed keywords, `coffee` by default, or with those that `follow` returns."""
    options = XOptions(token=TOKEN, tag=TAG, endpoint=server.url, allow_private=True, search_delay_s=0.01, rules_s=0.01)
    made = XSource(replace(options, **more))
    fixed = keywords or ("coffee",)
    made.follow(follow or (lambda: fixed))
    return made


@asynccontextmanager
async def listening(server: XServer, *words: str, cursor: str | None = None, **more: Any) -> AsyncIterator[Reading]:
    """Reads a source that is connected."""
    await server.free()
    async with reading(source(server, *words, **more), cursor) as found:
        await found.detail("keep-alive")
        yield found


async def failed(server: XServer, *words: str, cursor: str | None = None, **more: Any) -> Exception:
    """The error with which a source ends."""
    async with reading(source(server, *words, **more), cursor) as found:
        return await found.error()
