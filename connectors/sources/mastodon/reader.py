"""Reads one timeline: its stream, or its pages again and again, and what was missed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.errors import UnavailableError
from connectors.sources.events import (
    SkipReason,
    SourceDeletion,
    SourceEvent,
    SourceGap,
    SourcePost,
    SourceSkipped,
)
from connectors.sources.mastodon.heads import NOTHING, before, id_order, id_time, newest, next_to
from connectors.sources.mastodon.timelines import PAGE, Api, Timeline
from connectors.sources.net import HttpClient, TooLargeError
from connectors.sources.recent import Recent
from connectors.sources.shapes.mastodon import status_of
from connectors.sources.shapes.values import identifier
from connectors.sources.sse import ServerSentEvent, SseParser

_REMEMBERED = 20_000
_LONGEST_ID = 100


@dataclass(frozen=True, slots=True)
class Found:
    """An event of a timeline.

    Attributes:
        event: the event.
        id: the id of its status; None if it does not move the head of the timeline.
        at: the time of the status.
    """

    event: SourceEvent
    id: str | None = None
    at: datetime | None = None


class Reader:
    """Reads one timeline."""

    def __init__(
        self, api: Api, timeline: Timeline, head: str, *, start: str, overlap: timedelta, max_bytes: int
    ) -> None:
        """Prepare to read what comes after a status.

        Args:
            api: the server.
            timeline: the timeline.
            head: the id of the newest status that was seen; `NOTHING` if there is none.
            start: pages are never read from before this id, which is not newer than the head.
            overlap: how far before the newest status pages are read.
            max_bytes: the longest event of the stream.
        """
        self._api = api
        self._timeline = timeline
        self._first_head = head
        self._head = head
        self._start = start
        self._overlap = overlap
        self._max_bytes = max_bytes
        self._versions: Recent[str, str] = Recent(_REMEMBERED)

    async def missed(self) -> AsyncGenerator[Found, None]:
        """Yield what came after the head; first a gap, if the server no longer has the head or anything older.

        Raises:
            ConnectorError: As for `Api.page`.
        """
        if self._head != NOTHING and (gap := await self._gap()) is not None:
            yield gap
        async with aclosing(self.pages()) as pages:
            async for found in pages:
                yield found

    async def _gap(self) -> Found | None:
        if await self._api.page(self._timeline, limit=1, max_id=next_to(self._head, 1)):
            return None
        oldest = await self._api.page(self._timeline, limit=1, min_id=self._head)
        number = identifier(oldest[0].get("id")) if oldest else None
        # The head is moved to below the oldest status, so that the gap is not reported again.
        if number is None or next_to(number, -1) == self._head:
            return None
        event = status_of(oldest[0], received_at=datetime.now(UTC))
        gap = SourceGap(
            since=id_time(self._head),
            until=event.created_at if isinstance(event, SourcePost) else id_time(number),
            reason=f"{self._api.server} has no more posts of {self._timeline.name} as old as the last one",
        )
        return Found(gap, next_to(number, -1))

    async def pages(self) -> AsyncGenerator[Found, None]:
        """Yield the statuses of the pages since some time before the head, the oldest first, each once.

        Raises:
            ConnectorError: As for `Api.page`.
        """
        last = newest((before(self._head, self._overlap), self._start))
        limit = PAGE
        while True:
            try:
                statuses = await self._api.page(self._timeline, limit=limit, min_id=last)
            except TooLargeError:
                if limit == 1:
                    raise
                limit //= 2
                continue
            page = {number: status for status in statuses if (number := identifier(status.get("id"))) is not None}
            # A server that does not know min_id answers with the newest page again and again.
            fresh = sorted((number for number in page if id_order(number) > id_order(last)), key=id_order)
            if not fresh:
                return
            for number in fresh:
                if self._versions.get(number) != _version(page[number]):
                    yield self._found(page[number], edited=number in self._versions)
            last = fresh[-1]

    async def polled(self, interval_s: float) -> AsyncGenerator[Found, None]:
        """Yield what is new in the pages, and read them again and again.

        Raises:
            ConnectorError: As for `Api.page`.
        """
        while True:
            async with aclosing(self.pages()) as pages:
                async for found in pages:
                    yield found
            yield _skipped("the timeline has been read")
            await asyncio.sleep(interval_s)

    async def streamed(self, http: HttpClient, base: str, heartbeat_s: float) -> AsyncGenerator[Found, None]:
        """Yield the events of the stream.

        The server subscribes to its own queue a moment after the stream has begun. So the pages are read at the first
        line, and once more at the first heartbeat.

        Args:
            http: the client; its headers have the access token.
            base: the address of the server of streams.
            heartbeat_s: a stream that sends nothing for this many seconds is dead.

        Raises:
            ConnectorError: The stream was refused, failed, ended or was silent; or as for `Api.page`.
        """
        what = f"the stream {self._timeline.name} of {self._api.server}"
        parser = SseParser(max_bytes=self._max_bytes)
        begun = listening = False
        url = base + self._timeline.stream_path
        async with aclosing(http.stream(url, params=self._timeline.stream_query)) as lines:
            while True:
                try:
                    async with asyncio.timeout(heartbeat_s):
                        line = await anext(lines)
                except TimeoutError:
                    raise UnavailableError(f"{what} was silent for {heartbeat_s:g} s") from None
                except StopAsyncIteration:
                    raise UnavailableError(f"{what} ended") from None
                heartbeat = line is not None and line.startswith(b":")
                if not begun or (heartbeat and not listening):
                    listening, begun = begun, True
                    async with aclosing(self.pages()) as pages:
                        async for found in pages:
                            yield found
                if heartbeat:
                    yield _skipped("heartbeat")
                elif (event := parser.add(line)) is not None:
                    yield self._streamed(event)

    def _streamed(self, event: ServerSentEvent) -> Found:
        if event.too_large:
            return _skipped("an event is too large", SkipReason.TOO_LARGE)
        if event.kind == "delete":
            return _deleted(event.data.strip())
        if event.kind not in ("update", "status.update"):
            return _skipped("an event of another kind")
        try:
            status = json.loads(event.data)
        except (ValueError, RecursionError):
            status = None
        if not isinstance(status, Mapping):
            return _skipped("a status is not a JSON object", SkipReason.UNREADABLE)
        return self._updated(status, is_edit=event.kind == "status.update")

    def _updated(self, status: Mapping[str, Any], *, is_edit: bool) -> Found:
        number = identifier(status.get("id")) or ""
        version = self._versions.get(number)
        if version is not None and (not is_edit or version == _version(status)):
            return _skipped("a page had the post already")
        # An edit of a post that the stream should have sent, but has not, counts as the post.
        is_old = version is not None or id_order(number) <= id_order(self._first_head)
        return self._found(status, edited=is_edit and is_old)

    def _found(self, status: Mapping[str, Any], *, edited: bool) -> Found:
        event = status_of(status, received_at=datetime.now(UTC))
        number = identifier(status.get("id"))
        if number is not None and len(number) <= _LONGEST_ID:
            self._head = newest((self._head, number))
            self._versions.set(number, _version(status))
        else:
            number = None
        if not isinstance(event, SourcePost):
            return Found(event, number)
        return Found(replace(event, edited=edited), number, event.created_at)


def _deleted(number: str) -> Found:
    if 0 < len(number) <= _LONGEST_ID:
        return Found(SourceDeletion(id=number))
    return _skipped("a deletion has no id", SkipReason.UNREADABLE)


def _version(status: Mapping[str, Any]) -> str:
    return str(status.get("edited_at"))


def _skipped(detail: str, reason: SkipReason = SkipReason.NOT_A_POST) -> Found:
    return Found(SourceSkipped(reason=reason, detail=detail))
