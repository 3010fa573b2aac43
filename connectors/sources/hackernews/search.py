"""The search of Hacker News, by Algolia."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from connectors.errors import UnavailableError
from connectors.sources.events import SourcePost
from connectors.sources.hackernews.items import event_of_hit
from connectors.sources.net import HttpClient
from connectors.sources.shapes.values import members

_PAGE = 100


async def search(
    http: HttpClient, endpoint: str, query: str, *, since: datetime | None, limit: int
) -> AsyncGenerator[SourcePost, None]:
    """Yield the posts that match a query, the newest first, at most `limit`.

    The search gives the first 1,000 results of a question. So each page is a question of its own, for what is not newer
    than the end of the page before.

    Raises:
        RateLimitError: The search asks to wait: it has a limit of requests an hour.
        UnavailableError: The search did not answer.
        RejectedError: The search refuses the query.
    """
    seen: set[str] = set()
    until: int | None = None
    while len(seen) < limit:
        filters = [] if since is None else [f"created_at_i>={int(since.timestamp())}"]
        filters += [] if until is None else [f"created_at_i<={until}"]
        answer = await http.get(
            f"{endpoint}/api/v1/search_by_date",
            params={
                "query": query,
                "tags": "(story,comment,poll)",
                "hitsPerPage": _PAGE,
                "numericFilters": ",".join(filters),
            },
        )
        answer.check("the search of Hacker News")
        try:
            hits = members(json.loads(answer.body)).get("hits")
        except (ValueError, RecursionError) as exc:
            raise UnavailableError("the search of Hacker News did not answer with JSON") from exc
        now = datetime.now(UTC)
        found = [event_of_hit(hit, received_at=now) for hit in hits] if isinstance(hits, list) else []
        posts = [event for event in found if isinstance(event, SourcePost)]
        fresh = {post.id: post for post in posts if post.id not in seen}
        for post in list(fresh.values())[: limit - len(seen)]:
            seen.add(post.id)
            yield post
        if not fresh:
            return
        until = int(min(post.created_at for post in posts).timestamp())
