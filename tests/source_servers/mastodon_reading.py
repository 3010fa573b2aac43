"""Reads the source of Mastodon from its local server, in tests."""

from __future__ import annotations

from dataclasses import replace

from connectors.sources.mastodon import MastodonOptions, MastodonSource
from tests.source_servers.mastodon import TOKEN, MastodonServer
from tests.source_servers.reading import reading


def of_server(number: str) -> str:
    return f"127.0.0.1/{number}"


def source(server: MastodonServer, **changes: object) -> MastodonSource:
    options = MastodonOptions(endpoint=server.url, token=TOKEN, allow_private=True, interval_s=0.01)
    return MastodonSource(replace(options, **changes))  # type: ignore[arg-type]


async def interrupted(server: MastodonServer, **changes: object) -> str | None:
    """Reads a post, `one`, and returns the cursor after it."""
    async with reading(source(server, **changes)) as found:
        await found.detail("heartbeat")
        server.post("one")
        await found.texts("one")
    return found.cursor
