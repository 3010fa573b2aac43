"""Fetches feeds, each at its interval, and yields their new and edited entries."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.sources.events import Positioned, SkipReason, SourceEvent, SourceGap, SourcePost, skipped
from connectors.sources.net import Answer, TooLargeError, host_of, open_http, retry_after_s
from connectors.sources.protocol import RateLimitError
from connectors.sources.rss.identity import Identified, Known, Verdict, identify
from connectors.sources.rss.parse import Entry, NotAFeedError
from connectors.sources.rss.parsing import FeedParser
from connectors.sources.rss.schedule import Schedule, server_hint_s
from connectors.sources.rss.state import FeedState, RssCursor, feed_key, read_cursor

logger = logging.getLogger(__name__)

MAX_FEEDS = 50
"""Feeds of one source. More make the cursor too large for a record of Kafka; use several sources."""

_NOT_MODIFIED = 304
_GONE = 410
_LEAST_OF_A_PAGE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RssOptions:
    """How feeds are read.

    Attributes:
        feeds: the addresses of the feeds, at most `MAX_FEEDS`.
        schedule: how often each feed is fetched.
        history: whether the entries that are in a feed at the beginning are yielded. Those without a date never are.
        allow_private: whether feeds may be on private addresses.
        max_bytes: the longest document.
        timeout_s: seconds that a fetch may take.
    """

    feeds: tuple[str, ...]
    schedule: Schedule = field(default_factory=lambda: Schedule(interval_s=900.0))
    history: bool = False
    allow_private: bool = False
    max_bytes: int = 5_000_000
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RejectedError: `feeds` is empty, or has more than `MAX_FEEDS`.
        """
        if not 0 < len(self.feeds) <= MAX_FEEDS:
            raise RejectedError(f"a source of feeds has 1 to {MAX_FEEDS} of them, not {len(self.feeds)}")


class RssSource:
    """A source of entries of feeds. See `connectors.sources.protocol.Source`.

    A feed that fails is fetched again later, and does not stop the others. Only if all feeds fail does `stream` raise.
    """

    name = "rss"
    stable_ids = True

    def __init__(self, options: RssOptions, *, clock: Callable[[], float] = time.time) -> None:
        """Prepare a source; nothing is fetched.

        Args:
            options: how feeds are read.
            clock: the current time in seconds since 1970.
        """
        self.silence_s = options.schedule.most_s + 2 * options.timeout_s
        self._feeds = tuple(dict.fromkeys(options.feeds))
        self._options = options
        self._clock = clock
        self._parser = FeedParser()
        self._http = open_http(
            allow_private=options.allow_private,
            max_bytes=options.max_bytes,
            timeout_s=options.timeout_s,
            headers={"Accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.5"},
        )

    async def close(self) -> None:
        """Close the connections, and end the parser."""
        await self._parser.close()
        await self._http.close()

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield new and edited entries, and a `SourceSkipped` after each fetch. See `Source.stream`.

        The validators of a document (`ETag`, `Last-Modified`) are in the cursor only after its last entry, so that a
        document is fetched again if not all its entries were yielded.

        Raises:
            RateLimitError: All feeds fail, and the last one asks to wait.
            UnavailableError: All feeds fail.
            RejectedError: All feeds are rejected or gone, or `cursor` is not a cursor of this source.
        """
        states = read_cursor(cursor, self._feeds)
        written = RssCursor(states)
        started = self._now()
        failures: dict[str, tuple[int, ConnectorError]] = {}  # how many in a row, and the last one
        while True:
            live = [url for url in self._feeds if not states[url].gone]
            if not live:
                raise RejectedError("all feeds are gone: their servers answered 410")
            url = min(live, key=lambda feed: states[feed].due)
            wait = states[url].due - self._clock()
            # A longer wait than that is from a clock that was wrong.
            await asyncio.sleep(min(max(0.0, wait), self._options.schedule.most_s))
            try:
                async with aclosing(self._fetch(url, states[url], started)) as found:
                    async for state, event, at in found:
                        states[url] = state
                        if _is_elsewhere(event, states, url):
                            event = skipped("another feed has the entry")  # noqa: PLW2901
                        yield Positioned(event, written.set(url, state), at)
                failures.pop(url, None)
            except ConnectorError as exc:
                count = failures[url][0] + 1 if url in failures else 1
                # A copy has no traceback, which would keep the document in memory.
                failures[url] = count, copy.copy(exc)
                # The next try is at the address that was configured: the one that it moved to may be wrong by now.
                states[url] = state = replace(states[url], url=None)
                all_fail = all(feed in failures for feed in live)
                if not all_fail:
                    named = exc.retry_after_s if isinstance(exc, RateLimitError) else None
                    delay = self._options.schedule.after_failure(count, named)
                    states[url] = state = replace(state, due=self._clock() + delay)
                reason = SkipReason.TOO_LARGE if isinstance(exc, TooLargeError) else SkipReason.UNREADABLE
                yield Positioned(skipped(str(exc), reason), written.set(url, state))
                if all_fail:
                    raise _raised([error for _, error in failures.values()], exc) from None

    async def _fetch(
        self, url: str, state: FeedState, started: datetime
    ) -> AsyncGenerator[tuple[FeedState, SourceEvent, datetime | None], None]:
        """Fetch a feed once, and yield its events, each with the state after it and its time.

        Raises:
            ConnectorError: The feed could not be fetched, or the document is not a feed.
        """
        answer = await self._http.get(state.url or url, headers=state.conditions())
        name = f"the feed {feed_key(url)} of {host_of(answer.url)}"
        if answer.status == _GONE and state.url is None:
            yield replace(state, gone=True), skipped(f"{name} answered 410: it is gone", SkipReason.UNREADABLE), None
            return
        _check(answer, name, was_read=state.known is not None)
        if answer.moved:
            logger.warning("%s has moved for good; change its address", name)
            state = replace(state, url=answer.url)
        if answer.status == _NOT_MODIFIED:
            yield self._scheduled(state, answer), skipped("the feed has not changed"), None
            return
        try:
            feed = await self._parser.parse(answer.body, answer.headers, answer.url)
        except NotAFeedError as exc:
            raise UnavailableError(f"{name} {exc}") from exc
        entries = feed.entries
        found = identify(feed_key(url), [entry.marks for entry in entries], state.known or (), state.shared)
        if state.known is None:
            chosen = self._at_first(found, entries, started)
        else:
            chosen = [index for index, (verdict, _) in enumerate(found.entries) if verdict is not Verdict.SAME]
            if not state.gap and (gap := _gap(found, entries, state.known)) is not None:
                state = replace(state, gap=True)
                yield state, gap, gap.until
        records = [known for _, known in found.entries]
        if state.known is None:
            state = replace(state, known=tuple(known for index, known in enumerate(records) if index not in chosen))
        state = replace(state, shared=found.shared)
        for index in reversed(chosen):  # the oldest first
            event = self._post(entries[index], records[index], edited=found.entries[index][0] is Verdict.EDITED)
            state = _with(state, records[index])
            yield state, event, event.created_at if isinstance(event, SourcePost) else None
        state = replace(state, interval_s=feed.interval_s, gap=False).remembering(records).validated(answer.headers)
        left = len(entries) - len(chosen)
        yield self._scheduled(state, answer), skipped(f"{left} entries of the feed are not new"), None

    def _at_first(self, found: Identified, entries: tuple[Entry, ...], started: datetime) -> list[int]:
        """Returns which entries of the first document are yielded: what was there before is not new."""
        return [
            index
            for index, entry in enumerate(entries)
            if entry.published is not None and (self._options.history or entry.published >= started)
        ]

    def _post(self, entry: Entry, known: Known, *, edited: bool) -> SourceEvent:
        if not entry.text:
            return skipped("the entry has neither a title nor a text", SkipReason.EMPTY_TEXT)
        now = self._now()
        return SourcePost(
            id=known.id.hex(),
            text=entry.text,
            created_at=min(entry.published or now, now),
            author=entry.author,
            lang=entry.lang,
            url=entry.url,
            keywords=entry.tags,
            edited=edited,
        )

    def _scheduled(self, state: FeedState, answer: Answer) -> FeedState:
        hints = (server_hint_s(answer.headers, self._now()), retry_after_s(answer.headers))
        server_s = max((hint for hint in hints if hint is not None), default=None)
        wait = self._options.schedule.after_success(state.interval_s, server_s)
        return replace(state, due=self._clock() + wait)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _gap(found: Identified, entries: tuple[Entry, ...], known: tuple[Known, ...]) -> SourceGap | None:
    """Returns a gap if no entry of the document was there at the last fetch: entries in between may have come and gone.

    A feed that shows only its latest entry never has two documents with a common entry, so nothing is known of it.
    """
    if min(len(entries), len(known)) < _LEAST_OF_A_PAGE or any(
        verdict is not Verdict.NEW for verdict, _ in found.entries
    ):
        return None
    last = max(entry.date for entry in known)
    return SourceGap(
        since=datetime.fromtimestamp(last, UTC) if last else None,
        until=min((entry.published for entry in entries if entry.published is not None), default=None),
        reason="no entry of the feed was there at the last fetch, so that some may be missing",
        partial=True,
    )


def _check(answer: Answer, name: str, *, was_read: bool) -> None:
    """Raise an error if the status is not below 400. A feed that was read before is rejected for now, not for good."""
    try:
        answer.check(name)
    except RejectedError as exc:
        if was_read:
            raise UnavailableError(str(exc)) from exc
        raise


def _is_elsewhere(event: SourceEvent, states: Mapping[str, FeedState], url: str) -> bool:
    """Returns whether an event is a post that another feed has had already."""
    if not isinstance(event, SourcePost) or event.edited:
        return False
    number = bytes.fromhex(event.id)
    return any(known.id == number for other, state in states.items() if other != url for known in state.known or ())


def _with(state: FeedState, entry: Known) -> FeedState:
    """Returns the state with an entry that was yielded."""
    return replace(state, known=(entry, *(other for other in state.known or () if other.id != entry.id)))


def _raised(errors: list[ConnectorError], last: ConnectorError) -> ConnectorError:
    """Returns the error to raise when all feeds fail: the last one, but a rejection only if all were rejected."""
    if isinstance(last, RejectedError):
        return next((error for error in errors if not isinstance(error, RejectedError)), last)
    return last
