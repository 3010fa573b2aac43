"""Fetches the posts of an interruption by the search of the last seven days."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from connectors.errors import RejectedError
from connectors.sources.events import SourceGap, SourcePost, skipped
from connectors.sources.net import TooLargeError
from connectors.sources.net.http import Params
from connectors.sources.x.api import PAGE, Api, Page
from connectors.sources.x.cursor import Hole, Step, earlier, id_at, time_ms, time_of
from connectors.sources.x.posts import Posts

logger = logging.getLogger(__name__)

REACH = timedelta(days=7) - timedelta(hours=1)
"""How far back the search is asked at first. It reaches seven days; an older request would be refused."""

_SLACK_MS = 1_800_000
"""Milliseconds that a part may be older than that, because time passes while the parts before it are fetched."""

_PARTS = 24
_LEAST_PART_MS = 600_000


@dataclass(frozen=True, slots=True)
class RecoveryOptions:
    """How the posts of an interruption are fetched.

    Attributes:
        enabled: whether they are.
        most_posts: the most posts that are fetched for an interruption.
    """

    enabled: bool = True
    most_posts: int = 100_000


class Recovery:
    """Fetches what is in holes. X charges for each post that it finds."""

    def __init__(
        self, api: Api, posts: Posts, queries: Callable[[], Awaitable[Sequence[str]]], options: RecoveryOptions
    ) -> None:
        """Prepare to fetch.

        Args:
            api: the API.
            posts: makes events of the posts, and knows those that came through the stream.
            queries: returns the queries that find what the stream would have sent.
            options: how posts are fetched.
        """
        self._api = api
        self._posts = posts
        self._queries = queries
        self._options = options

    async def fetched(self, hole: Hole, overlap_ms: int) -> AsyncGenerator[Step, None]:
        """Yield the posts of a hole. It is fetched in parts, the oldest first; what cannot be fetched is a gap.

        Args:
            hole: what is fetched.
            overlap_ms: milliseconds before the hole from which on it is fetched.

        Raises:
            ConnectorError: What `queries` raises.
        """
        part_ms = max(_LEAST_PART_MS, -(-(time_ms(hole.until) - time_ms(hole.since)) // _PARTS))
        start, left, found = hole.since, hole, 0
        while left.since < left.until:
            if not self._options.enabled:
                yield _gap(left, left.until, "`recover` is off")
                return
            oldest = id_at(int((time.time() - REACH.total_seconds()) * 1_000))
            if left.since < earlier(oldest, _SLACK_MS):
                end = min(oldest, left.until)
                yield _gap(left, end, "the search of X reaches back seven days")
                left = left.after(end)
                continue
            end = min(left.until, id_at(time_ms(left.since) + part_ms))
            begin = earlier(start, overlap_ms) if left.since == start else left.since
            try:
                async with aclosing(self._found(begin, end, since=start)) as steps:
                    async for step in steps:
                        yield step
                        found += isinstance(step.event, SourcePost)
                        if found > self._options.most_posts:
                            raise RejectedError(f"it has more than {self._options.most_posts:,} posts (recover_posts)")
            except (RejectedError, TooLargeError) as exc:
                logger.warning("what came during the interruption cannot be fetched: %s", exc)
                yield _gap(left, left.until, f"it cannot be fetched: {exc}")
                return
            yield Step(event=skipped("a part of an interruption was fetched"), fetched=(left, end))
            left = left.after(end)

    async def _found(self, begin: int, end: int, *, since: int) -> AsyncGenerator[Step, None]:
        """Yield the posts from one id on, before another one."""
        for query in await self._queries():
            params: dict[str, str | int] = {
                "since_id": str(max(1, begin - 1)),
                "until_id": str(end),
                "max_results": PAGE,
            }
            page_of = partial(self._page, query)
            async with aclosing(pages(page_of, params)) as documents:
                async for document in documents:
                    event, _ = self._posts.event_of(document, since=since, received_at=datetime.now(UTC))
                    yield Step(event=event, at=event.created_at if isinstance(event, SourcePost) else None)

    async def _page(self, query: str, params: Params) -> Page:
        return await self._api.patiently(partial(self._api.page, query, params))


async def pages(
    page_of: Callable[[Params], Awaitable[Page]], params: Params
) -> AsyncGenerator[Mapping[str, Any], None]:
    """Yield the documents of all pages of a search, the newest first.

    Args:
        page_of: returns the page for parameters.
        params: the parameters of the first page.

    Raises:
        ConnectorError: What `page_of` raises.
    """
    asked = dict(params)
    while True:
        page = await page_of(asked)
        for document in page.documents:
            yield document
        if page.next is None or page.next == asked.get("next_token"):
            return
        asked["next_token"] = page.next


def _gap(hole: Hole, end: int, reason: str) -> Step:
    gap = SourceGap(since=time_of(hole.since), until=time_of(end), reason=f"what X sent meanwhile is missing: {reason}")
    return Step(event=gap, fetched=(hole, end))
