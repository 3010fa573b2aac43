"""Reads a source in a test."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from connectors.errors import ConnectorError
from connectors.sources.events import Positioned, SkipReason, SourceDeletion, SourceGap, SourcePost, SourceSkipped
from connectors.sources.protocol import Source

PATIENCE_S = 30.0


class Reading:
    """The events that a source has yielded so far, in the order of their coming."""

    def __init__(self, source: Source, cursor: str | None) -> None:
        self.events: list[Positioned] = []
        self._task = asyncio.create_task(self._read(source, cursor))

    async def _read(self, source: Source, cursor: str | None) -> None:
        async with aclosing(source.stream(cursor)) as events:  # type: ignore[type-var]
            async for event in events:
                self.events.append(event)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; if the source fails before that, raise its error."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                if self._task.done():
                    self._task.result()
                    raise AssertionError("the source has ended")
                await asyncio.sleep(0.005)

    async def texts(self, *wanted: str) -> None:
        """Wait until posts with these texts have come."""
        await self.until(lambda: set(wanted) <= {post.text for post in self.posts})

    async def detail(self, part: str, times: int = 1) -> None:
        """Wait until so many events were skipped whose detail has this part."""
        await self.until(lambda: sum(part in one.detail for one in self.skipped) >= times)

    async def error(self) -> ConnectorError:
        """Wait until the source fails, and return its error."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.shield(self._task)
        except ConnectorError as exc:
            return exc
        raise AssertionError("the source has ended")

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def cursor(self) -> str | None:
        return self.events[-1].cursor

    @property
    def posts(self) -> list[SourcePost]:
        return [one.event for one in self.events if isinstance(one.event, SourcePost)]

    @property
    def post_texts(self) -> list[str]:
        return [post.text for post in self.posts]

    @property
    def gaps(self) -> list[SourceGap]:
        return [one.event for one in self.events if isinstance(one.event, SourceGap)]

    @property
    def deletions(self) -> list[str | None]:
        return [one.event.id for one in self.events if isinstance(one.event, SourceDeletion)]

    @property
    def skipped(self) -> list[SourceSkipped]:
        return [one.event for one in self.events if isinstance(one.event, SourceSkipped)]

    def reasons(self, reason: SkipReason) -> list[str]:
        return [one.detail for one in self.skipped if one.reason is reason]


@asynccontextmanager
async def reading(source: Source, cursor: str | None = None) -> AsyncIterator[Reading]:
    """Reads a source in the background, and closes it at the end."""
    found = Reading(source, cursor)
    try:
        yield found
    finally:
        await found.end()
        await source.close()


class Killed:
    """What a program keeps that is killed at random moments: confirmed posts, and a cursor that may be older."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cursor: str | None = None
        self.posts: list[SourcePost] = []
        self.gaps: list[SourceGap] = []

    async def life(self, source: Source, most: int, *, idle: str) -> None:
        """Read some events. The cursor of one of them is stored; those after it are confirmed all the same.

        An event whose detail has `idle` tells that there are no more for now.
        """
        count = self.random.randint(1, most)
        async with reading(source, self.cursor) as found:
            with contextlib.suppress(ConnectorError):
                await found.until(
                    lambda: len(found.events) >= count or any(idle in one.detail for one in found.skipped)
                )
        self.keep(found)

    def keep(self, found: Reading) -> None:
        """Keep the posts, and the cursor of one of the events."""
        self.posts += found.posts
        self.gaps += found.gaps
        if found.events:
            self.cursor = self.random.choice(found.events).cursor
