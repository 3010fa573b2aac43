"""Reads items by their numbers as they come, and what changes in them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.events import Positioned, SkipReason, SourceDeletion, SourceEvent, SourcePost, skipped
from connectors.sources.hackernews.absent import Absent, read_cursor, write_cursor
from connectors.sources.hackernews.items import OTHER_KINDS, POST_KINDS, event_of
from connectors.sources.hackernews.search import search
from connectors.sources.net import TooLargeError, open_http
from connectors.sources.recent import Recent
from connectors.sources.shapes.values import members

_BATCH = 50
_MOST_CHANGES = 500
_REMEMBERED = 20_000
_TRIES = 3
_TOO_LARGE = object()
_UNREADABLE = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class HackerNewsOptions:
    """How Hacker News is read.

    Attributes:
        endpoint: the address of the API.
        search_endpoint: the address of the search.
        kinds: the types of items that are posts: some of `comment`, `job`, `poll`, `pollopt` and `story`.
        interval_s: seconds between two questions for new items.
        changes_s: seconds between two questions for edits and deletions, each of which costs a request for each of
            some dozens of changed items; None for no such questions.
        absent_s: how long an item that is not shown yet is asked for, in seconds.
        parallel: requests at the same time.
        allow_private: whether the addresses may be private.
        max_bytes: the longest answer.
        timeout_s: seconds that a request may take.
    """

    endpoint: str = "https://hacker-news.firebaseio.com"
    search_endpoint: str = "https://hn.algolia.com"
    kinds: frozenset[str] = POST_KINDS
    interval_s: float = 30.0
    changes_s: float | None = 120.0
    absent_s: float = 3_600.0
    parallel: int = 8
    allow_private: bool = False
    max_bytes: int = 2_000_000
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            RejectedError: `kinds` is empty, or one of them is not a type of items.
        """
        if not self.kinds or self.kinds - POST_KINDS - OTHER_KINDS:
            raise RejectedError(f"the items of Hacker News are {', '.join(sorted(POST_KINDS | OTHER_KINDS))}")


class HackerNewsSource:
    """A source of items of Hacker News, which can be searched. See `connectors.sources.protocol`.

    Each item since the cursor is read, however long ago that was. Edits and deletions are read while the source runs;
    the API does not tell those of the time before.
    """

    name = "hackernews"
    stable_ids = True

    def __init__(self, options: HackerNewsOptions) -> None:
        """Prepare a source; nothing is connected to."""
        self.silence_s = options.interval_s + 10 * options.timeout_s
        self._options = options
        self._texts: Recent[str, int] = Recent(_REMEMBERED)
        self._deleted: Recent[str, bool] = Recent(_REMEMBERED)
        self._slots = asyncio.Semaphore(options.parallel)
        self._http = open_http(
            allow_private=options.allow_private, max_bytes=options.max_bytes, timeout_s=options.timeout_s
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def search(
        self, query: str, *, since: datetime | None = None, limit: int = 1_000
    ) -> AsyncGenerator[SourcePost, None]:
        """Yield posts that match a query, the newest first, at most `limit`. See `SearchableSource.search`."""
        endpoint = self._options.search_endpoint.rstrip("/")
        async with aclosing(search(self._http, endpoint, query, since=since, limit=limit)) as posts:
            async for post in posts:
                yield post

    async def stream(self, cursor: str | None) -> AsyncGenerator[Positioned, None]:
        """Yield items in the order of their numbers, then what has changed, again and again. See `Source.stream`.

        Raises:
            RateLimitError: The API asks to wait.
            UnavailableError: The API did not answer.
            RejectedError: `cursor` is not a cursor of this source.
        """
        last, items = read_cursor(cursor) if cursor is not None else (await self._newest(), [])
        absent = Absent(items, time.monotonic())
        yield Positioned(skipped("connected"), write_cursor(last, absent.items))
        changes_at = 0.0
        while True:
            newest = await self._newest()
            while last < newest:
                batch = range(last + 1, min(last + _BATCH, newest) + 1)
                async with aclosing(self._new(batch, absent)) as events:
                    async for last, event in events:
                        yield _positioned(event, write_cursor(last, absent.items))
            async with aclosing(self._appeared(absent)) as appeared:
                async for event in appeared:
                    yield _positioned(event, write_cursor(last, absent.items))
            if self._options.changes_s is not None and time.monotonic() >= changes_at:
                changes_at = time.monotonic() + self._options.changes_s
                async with aclosing(self._changed(last)) as changed:
                    async for event in changed:
                        yield _positioned(event, write_cursor(last, absent.items))
            yield Positioned(skipped("all items have been read"), write_cursor(last, absent.items))
            await asyncio.sleep(self._options.interval_s)

    async def _new(self, batch: Sequence[int], absent: Absent) -> AsyncGenerator[tuple[int, SourceEvent], None]:
        """Yield the events of new items, each with its number."""
        found = await self._items(batch)
        if len(batch) == _BATCH and all(item is None for item in found):
            raise UnavailableError(f"the API of Hacker News shows none of the items {batch[0]} to {batch[-1]}")
        oldest = time.time() - self._options.absent_s
        for index, (number, item) in enumerate(zip(batch, found, strict=True)):
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                yield number, self._event(item)
            elif any(_time(later) < oldest for later in found[index:] if later is not None):
                yield number, skipped("there is no such item", SkipReason.REMOVED)
            else:
                absent.add(number, time.monotonic())
                yield number, skipped("the item is not shown yet")

    async def _appeared(self, absent: Absent) -> AsyncGenerator[SourceEvent, None]:
        """Yield the events of items that were absent, and give up those that have been absent for too long."""
        for number, item in zip(items := absent.items, await self._items(items), strict=True):
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                absent.remove(number)
                yield self._event(item)
        for _ in absent.given_up(time.monotonic() - self._options.absent_s):
            yield skipped("there is no such item", SkipReason.REMOVED)

    async def _changed(self, last: int) -> AsyncGenerator[SourceEvent, None]:
        """Yield the edits and deletions among the latest changes."""
        changes = members(await self._json("updates")).get("items")
        found = changes[:_MOST_CHANGES] if isinstance(changes, list) else []
        numbers = [item for item in found if isinstance(item, int) and item <= last]
        for number, item in zip(numbers, await self._items(numbers), strict=True):
            if isinstance(item, BaseException):
                raise item
            if members(item).get("deleted") and str(number) not in self._deleted:
                self._deleted.set(str(number), True)
                yield SourceDeletion(id=str(number))
            elif (before := self._texts.get(str(number))) is not None and item is not None:
                event = self._event(item)
                if isinstance(event, SourcePost) and hash(event.text) != before:
                    yield replace(event, edited=True)

    def _event(self, item: object) -> SourceEvent:
        if item is _TOO_LARGE:
            return skipped("an item is too large", SkipReason.TOO_LARGE)
        event = event_of(item, kinds=self._options.kinds, received_at=datetime.now(UTC))
        if isinstance(event, SourcePost):
            self._texts.set(event.id, hash(event.text))
        return event

    async def _newest(self) -> int:
        newest = await self._json("maxitem")
        if not isinstance(newest, int):
            raise UnavailableError("the API of Hacker News does not tell the newest item")
        return newest

    async def _items(self, numbers: Sequence[int]) -> list[object]:
        """Return the items, or the error of each one that could not be read."""
        return await asyncio.gather(*(self._item(number) for number in numbers), return_exceptions=True)

    async def _item(self, number: int) -> object:
        """Return an item; None if the API does not show it."""
        try:
            return await self._json(f"item/{number}", _TRIES)
        except TooLargeError:
            return _TOO_LARGE

    async def _json(self, name: str, tries: int = 1) -> object:
        """Return what the API has under a name; `_UNREADABLE` if it was not JSON several times."""
        what = f"the API of Hacker News ({name})"
        for _ in range(tries):
            async with self._slots:
                answer = await self._http.get(f"{self._options.endpoint.rstrip('/')}/v0/{name}.json")
            answer.check(what)
            try:
                return json.loads(answer.body)
            except (ValueError, RecursionError):
                continue
        if tries > 1:
            return _UNREADABLE
        raise UnavailableError(f"{what} did not answer with JSON")


def _positioned(event: SourceEvent, cursor: str) -> Positioned:
    return Positioned(event, cursor, event.created_at if isinstance(event, SourcePost) else None)


def _time(item: object) -> float:
    """Returns the time of an item in seconds since 1970; infinity if the item has no time."""
    found = members(item).get("time")
    # Not as a float, for which a whole number may be too large.
    return found if isinstance(found, int | float) else float("inf")
