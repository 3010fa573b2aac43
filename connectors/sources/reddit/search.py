"""The search of Reddit. It finds submissions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from connectors.sources.events import SourcePost
from connectors.sources.reddit.api import Api

EVERYWHERE = "all"
"""The name that stands for all subreddits."""


async def search(
    api: Api, subreddits: Sequence[str], query: str, *, since: datetime | None, limit: int
) -> AsyncGenerator[SourcePost, None]:
    """Yield the submissions that match a query, the newest first, at most `limit`. Reddit has at most 1,000.

    Args:
        api: the server.
        subreddits: where to search; with `all` among them, everywhere.
        query: what to search for.
        since: the time of the oldest one; None for no limit.
        limit: the most submissions.

    Raises:
        ConnectorError: As for `Api.page`.
    """
    everywhere = EVERYWHERE in subreddits
    path = "/search" if everywhere else f"/r/{'+'.join(subreddits)}/search"
    params = {"q": query, "sort": "new", "t": "all", "type": "link"}
    params |= {} if everywhere else {"restrict_sr": "true"}
    seen: set[str] = set()
    after: str | None = None
    while len(seen) < limit:
        page = await api.page(path, after=after, params=params)
        posts = [item.event for item in page.items if isinstance(item.event, SourcePost)]
        fresh = {post.id: post for post in posts if post.id not in seen}
        for post in fresh.values():
            if since is not None and post.created_at < since:
                return
            if len(seen) >= limit:
                return
            seen.add(post.id)
            yield post
        if page.after is None or page.after == after:
            return
        after = page.after
