"""The filtered stream, its rules, and what came during an interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import Positioned, SourcePost, skipped
from connectors.sources.merging import merged
from connectors.sources.net import host_of_endpoint, open_http
from connectors.sources.x.api import LEAST, PAGE, Api
from connectors.sources.x.cursor import Hole, Position, Step, id_at, time_ms
from connectors.sources.x.following import NOTHING_WANTED, RuleKeeper, RuleLimits
from connectors.sources.x.listening import SETTLE_MS, Listener, now_ms
from connectors.sources.x.posts import Posts
from connectors.sources.x.recovery import REACH, Recovery, RecoveryOptions, pages
from connectors.sources.x.rules import NO_RETWEETS

API = "https://api.x.com"

MOST_BACKFILL_MINUTES = 5
CHARS_OF_RULES = range(256, 4_097)
"""A rule or a query must have room for the longest keyword."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XOptions:
    """How X is read.

    Attributes:
        token: the bearer token of the app.
        tag: the tag of the rules. Another source of the same app has another one.
        endpoint: the address of the API.
        retweets: whether reposts without a text of their own are posts.
        limits: what the account may have.
        backfill_minutes: minutes that X is asked to send again after an interruption; 0 for an account that may not
            ask, as all but those with an enterprise contract.
        recovery: how the posts of a longer interruption are fetched.
        overlap: how far before its position the source begins again: posts come with a delay, and not in order.
        search_delay_s: seconds until the search knows a post. X answers without the last 30 seconds.
        rules_s: seconds between two looks at the keywords.
        silence_s: a stream that sends nothing for this many seconds is dead. X sends something every 20 seconds.
        allow_private: whether the address may be private.
        max_bytes: the longest line of the stream.
        timeout_s: seconds that a request may take.
    """

    token: str = field(repr=False)
    tag: str = "emostream"
    endpoint: str = API
    retweets: bool = False
    limits: RuleLimits = field(default_factory=RuleLimits)
    backfill_minutes: int = 0
    recovery: RecoveryOptions = field(default_factory=RecoveryOptions)
    overlap: timedelta = timedelta(seconds=30)
    search_delay_s: float = 45.0
    rules_s: float = 2.0
    silence_s: float = 25.0
    allow_private: bool = False
    max_bytes: int = 1_000_000
    timeout_s: float = 15.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RejectedError: One of them is out of its range.
        """
        host_of_endpoint(self.endpoint, source="x", example=API)
        if not 0 <= self.backfill_minutes <= MOST_BACKFILL_MINUTES:
            raise RejectedError(f"backfill_minutes is 0 to {MOST_BACKFILL_MINUTES}")
        for name, chars in (("rule_chars", self.limits.rule_chars), ("query_chars", self.limits.query_chars)):
            if chars not in CHARS_OF_RULES:
                raise RejectedError(f"{name} is {CHARS_OF_RULES[0]} to {CHARS_OF_RULES[-1]}")
        if self.limits.rules < 1 or self.recovery.most_posts < 1:
            raise RejectedError("rules and recover_posts are at least 1")


class XSource:
    """A source of public posts of X that have keywords. See `connectors.sources.protocol`.

    X allows an app one connection, and sends only what the rules of the app find. The rules stay at X when the source
    ends, so that a restart goes on with them; a source without keywords deletes them. Deletions are not announced.

    Attributes:
        name: `x`.
        silence_s: longer than a connection and its rules take. The stream itself has a shorter limit, see `XOptions`.
        stable_ids: True: the id of a post is that of its first version.
    """

    name = "x"
    stable_ids = True

    def __init__(self, options: XOptions) -> None:
        """Prepare a source; nothing is connected to."""
        self.silence_s = options.silence_s + 4 * options.timeout_s
        self._options = options
        self._keywords: Callable[[], Sequence[str]] = tuple
        self._http = open_http(
            allow_private=options.allow_private,
            max_bytes=options.max_bytes,
            timeout_s=options.timeout_s,
            headers={"Authorization": f"Bearer {options.token}"},
        )
        self._api = Api(self._http, options.endpoint, originals=options.retweets)

    def follow(self, keywords: Callable[[], Sequence[str]]) -> None:
        """Ask for posts with keywords, and follow their changes. See `FilteredSource.follow`."""
        self._keywords = keywords

    def retries(self) -> int:
        """Returns how many requests it has repeated. See `RetryingSource.retries`."""
        return self._api.retries

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield posts that the rules find, and those of the time since the cursor. See `Source.stream`.

        Raises:
            RateLimitError: X asks to wait, or the app has another connection.
            UnavailableError: The connection failed, ended or was silent; or there are no keywords any more.
            RejectedError: The bearer token is wrong, X refuses a rule, the keywords do not fit, `cursor` is not a
                cursor of this source, or there are no keywords at the first start.
        """
        options = self._options
        position = Position(id_at(now_ms())) if cursor is None else Position.read(cursor, now_ms())
        if cursor is None and not self._keywords():
            raise RejectedError(NOTHING_WANTED)
        rules = RuleKeeper(self._api, self._keywords, tag=options.tag, limits=options.limits, retweets=options.retweets)
        if not await rules.update():
            # Without keywords nothing is missed. A search for this time would cost money when there are keywords again.
            now = now_ms()
            yield position.take(Step(event=skipped("there are no keywords"), newest=id_at(now)), now)
            raise UnavailableError(NOTHING_WANTED)
        yield position.take(Step(event=skipped("the rules are set")), now_ms())
        posts = Posts(tag=options.tag, retweets=options.retweets, shared=rules.shared)
        first = cursor is None
        overlap_ms = 0 if first else int(options.overlap.total_seconds() * 1_000)
        listener = Listener(
            self._api,
            posts,
            newest=position.newest,
            # The first start is not an interruption. But the search can fetch what came while it connected.
            opens_hole=not first or options.recovery.enabled,
            backfill_minutes=0 if first else options.backfill_minutes,
            overlap_ms=overlap_ms,
            silence_s=options.silence_s,
        )
        recovery = Recovery(self._api, posts, rules.queries, options.recovery)
        recovered = self._recovered(listener, recovery, list(position.holes), overlap_ms)
        parts = [listener.steps(), rules.followed(options.rules_s), recovered]
        async with aclosing(merged(parts)) as steps:
            async for step in steps:
                yield position.take(step, now_ms())

    async def _recovered(
        self, listener: Listener, recovery: Recovery, holes: list[Hole], overlap_ms: int
    ) -> AsyncGenerator[Step, None]:
        """Yield what is in holes, and in the one before the connection, each when the search knows it."""
        await listener.listening.wait()
        if listener.hole is not None:
            holes = [*holes, listener.hole]
        for hole in holes:
            if self._options.recovery.enabled:
                known_ms = time_ms(hole.until) - SETTLE_MS + self._options.search_delay_s * 1_000
                await asyncio.sleep(max(0.0, known_ms - now_ms()) / 1_000)
            async with aclosing(recovery.fetched(hole, overlap_ms)) as steps:
                async for step in steps:
                    yield step

    async def search(
        self, query: str, *, since: datetime | None = None, limit: int = 1_000
    ) -> AsyncGenerator[SourcePost, None]:
        """Yield posts of the last seven days that match a query of X, the newest first, at most `limit`.

        X charges for each post. See `SearchableSource.search`.
        """
        options = self._options
        posts = Posts(tag=options.tag, retweets=options.retweets)
        params: dict[str, str | int] = {"max_results": max(LEAST, min(PAGE, limit))}
        # The search refuses an earlier time.
        if since is not None and since > datetime.now(UTC) - REACH:
            params["start_time"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        page_of = partial(self._api.page, query if options.retweets else f"({query}){NO_RETWEETS}")
        left = limit
        async with aclosing(pages(page_of, params)) as documents:
            async for document in documents:
                event, _ = posts.event_of(document, since=0, received_at=datetime.now(UTC))
                if isinstance(event, SourcePost) and left > 0:
                    left -= 1
                    yield event
                if left <= 0:
                    return
