"""Comments and submissions of subreddits, and the search."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from connectors.errors import RejectedError
from connectors.sources.events import Positioned, SkipReason, SourceEvent, SourcePost, skipped
from connectors.sources.net import host_of_endpoint, open_http
from connectors.sources.reddit.api import MOST_PACED_S, Api, Credentials
from connectors.sources.reddit.heads import read_cursor, write_cursor
from connectors.sources.reddit.reader import MOST_REQUESTS, Listing, Reader
from connectors.sources.reddit.requestor import SubredditRefusedError
from connectors.sources.reddit.search import search

logger = logging.getLogger(__name__)

API = "https://oauth.reddit.com"
TOKENS = "https://www.reddit.com"

KINDS = frozenset({"comments", "submissions"})

MAX_SUBREDDITS = 100
"""Subreddits of one source. Each has a listing of its own, unless it is named together with others."""

_NAME = re.compile(r"[a-z0-9_]{2,21}", re.ASCII)
_SENT = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedditOptions:
    """Which subreddits are read, and how.

    Attributes:
        subreddits: the names, at most `MAX_SUBREDDITS`. Those with `+` between them share a listing.
        credentials: what Reddit knows the program by.
        user_agent: the name and version of the program, and who runs it, as Reddit asks for.
        kinds: which items are posts: `comments`, `submissions` or both.
        endpoint: the address of the API.
        token_endpoint: the address of the server that gives tokens.
        interval_s: seconds between two readings of the listings.
        refused_s: seconds until a subreddit that Reddit refuses is read again.
        allow_private: whether the addresses may be private.
        max_bytes: the longest page. If a page is longer, fewer items are asked for.
        timeout_s: seconds that a request may take.
    """

    subreddits: tuple[str, ...]
    credentials: Credentials
    user_agent: str
    kinds: frozenset[str] = KINDS
    endpoint: str = API
    token_endpoint: str = TOKENS
    interval_s: float = 30.0
    refused_s: float = 3_600.0
    allow_private: bool = False
    max_bytes: int = 8_000_000
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RejectedError: An endpoint is not an address, the credentials have other characters than Reddit's, or a
                subreddit or a kind cannot exist.
        """
        for endpoint in (self.endpoint, self.token_endpoint):
            host_of_endpoint(endpoint, source="reddit", example=API)
        known_by = self.credentials
        for value in (known_by.client_id, known_by.client_secret, known_by.username):
            if value is not None and _SENT.fullmatch(value) is None:
                raise RejectedError(
                    "a client id, a secret and a username of reddit have letters, digits, '-' and '_' only"
                )
        names = [name for group in self.groups for name in group.split("+")]
        if not 0 < len(names) <= MAX_SUBREDDITS or not all(map(_NAME.fullmatch, names)):
            raise RejectedError(
                f"subreddits is a list of 1 to {MAX_SUBREDDITS} names such as 'coffee', or 'coffee+tea' for one listing"
            )
        if not self.kinds or self.kinds - KINDS:
            raise RejectedError(f"the kinds of reddit are {' and '.join(sorted(KINDS))}")

    @property
    def groups(self) -> tuple[str, ...]:
        """The subreddits in lower case, each once. Those of one listing have `+` between them."""
        return tuple(dict.fromkeys(name.strip().lower().removeprefix("r/") for name in self.subreddits))

    @property
    def listings(self) -> list[Listing]:
        """The listings of all groups and kinds."""
        return [Listing(group, comments=kind == "comments") for group in self.groups for kind in sorted(self.kinds)]


class RedditSource:
    """A source of comments and submissions of subreddits, which can be searched. See `connectors.sources.protocol`.

    What came during an interruption is read from the listings, as far as Reddit lists it. Edits and removals are seen
    while the source runs and the item is among the newest ones.
    """

    name = "reddit"
    stable_ids = True

    def __init__(self, options: RedditOptions) -> None:
        """Prepare a source; nothing is connected to."""
        # Nothing is yielded while a listing is read.
        self.silence_s = options.interval_s + MOST_REQUESTS * (options.timeout_s + MOST_PACED_S)
        self._options = options
        self._http = open_http(
            allow_private=options.allow_private,
            max_bytes=options.max_bytes,
            timeout_s=options.timeout_s,
            redirects=False,
        )
        self._api = Api(
            self._http,
            options.credentials,
            api=options.endpoint,
            tokens=options.token_endpoint,
            user_agent=options.user_agent,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def search(
        self, query: str, *, since: datetime | None = None, limit: int = 1_000
    ) -> AsyncGenerator[SourcePost, None]:
        """Yield submissions that match a query, the newest first, at most `limit`. See `SearchableSource.search`."""
        names = list(dict.fromkeys(name for group in self._options.groups for name in group.split("+")))
        async with aclosing(search(self._api, names, query, since=since, limit=limit)) as posts:
            async for post in posts:
                yield post

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield what is new in each listing, again and again. See `Source.stream`.

        Raises:
            RateLimitError: Reddit asks to wait, or the limit of requests is used up.
            UnavailableError: Reddit did not answer.
            RejectedError: Credentials are wrong, Reddit refuses all subreddits, or `cursor` is not a cursor of this
                source.
        """
        listings = self._options.listings
        heads = read_cursor(cursor, [listing.name for listing in listings]) if cursor is not None else {}
        # Those that begin come first, so that all are in the cursor before anything is yielded.
        listings.sort(key=lambda listing: listing.name in heads)
        readers = {listing.name: Reader(self._api, listing, heads.get(listing.name)) for listing in listings}

        subreddits_of = {listing.name: listing.subreddits for listing in listings}
        refused: dict[str, float] = {}  # by subreddits: when they are read again, in monotonic seconds

        def positioned(event: SourceEvent) -> Positioned:
            read = {name: reader.head for name, reader in readers.items() if reader.head is not None}
            is_complete = all(name in read or subreddits_of[name] in refused for name in readers)
            at = event.created_at if isinstance(event, SourcePost) and not event.edited else None
            return Positioned(event, write_cursor(read) if is_complete and read else cursor, at)

        while True:
            for name, reader in readers.items():
                subreddits = subreddits_of[name]
                if refused.get(subreddits, 0.0) > time.monotonic():
                    continue
                try:
                    async with aclosing(reader.poll()) as events:
                        async for event in events:
                            yield positioned(event)
                except SubredditRefusedError as exc:
                    refused[subreddits] = time.monotonic() + self._options.refused_s
                    if len(refused) == len(set(subreddits_of.values())):
                        raise RejectedError(f"{exc}; no subreddit is left to read") from exc
                    logger.warning(
                        "%s; r/%s is left out, and tried again in %.0f s", exc, subreddits, self._options.refused_s
                    )
                    yield positioned(skipped(f"r/{subreddits} is refused", SkipReason.FORBIDDEN))
                    continue
                refused.pop(subreddits, None)
                yield positioned(skipped(f"{name} has been read"))
            yield positioned(skipped("all listings have been read"))
            await asyncio.sleep(self._options.interval_s)
