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
    skipped,
)
from connectors.sources.mastodon.heads import LONGEST_ID, NOTHING, before, id_order, id_time, newest, next_to
from connectors.sources.mastodon.timelines import PAGE, Api, Timeline
from connectors.sources.net import HttpClient, TooLargeError
from connectors.sources.recent import Recent
from connectors.sources.shapes.mastodon import status_of
from connectors.sources.shapes.values import identifier
from connectors.sources.sse import ServerSentEvent, SseParser

_REMEMBERED = 20_000
_LONGEST_VERSION = 40


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
    """Reads one timeline.

    Attributes:
        read_at: each time an event is yielded, the statuses up to it that had reached the server by then were yielded.
    """

    def __init__(
        self,
        api: Api,
        timeline: Timeline,
        head: str,
        read_at: datetime,
        *,
        start: str,
        overlap: timedelta,
        max_bytes: int,
    ) -> None:
        """Prepare to read what comes after a status.

        Args:
            api: the server.
            timeline: the timeline.
            head: the id of the newest status that was seen; `NOTHING` if none was.
            read_at: see the attribute; of what was read before.
            start: pages are never read from before this id, which is not newer than the head.
            overlap: how far before the newest status pages are read.
            max_bytes: the longest event of the stream.
        """
        self.read_at = read_at
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
        if (await self._api.page(self._timeline, limit=1, max_id=next_to(self._head, 1))).statuses:
            return None
        oldest = (await self._api.page(self._timeline, limit=1, min_id=self._head)).statuses
        if not oldest:
            return None
        number, status = next(iter(oldest.items()))
        below = next_to(number, -1)
        if below == self._head:
            return None
        event = status_of(status, received_at=datetime.now(UTC))
        gap = SourceGap(
            since=id_time(self._head),
            until=event.created_at if isinstance(event, SourcePost) else id_time(number),
            reason=f"{self._api.server} has no more posts of {self._timeline.name} as old as the last one",
            partial=True,
        )
        # The head moves to below the oldest status, so that the gap is not reported again. An id that is not a number
        # has none below it, and from the status itself on it would be skipped.
        return Found(gap, None if below == number else below)

    async def pages(self) -> AsyncGenerator[Found, None]:
        """Yield the statuses of the pages since some time before the head, the oldest first, each once.

        A server that does not know `min_id` answers with the newest page again and again. It is read once, and what
        lies between it and the head is a gap.

        Raises:
            ConnectorError: As for `Api.page`.
        """
        head, limit = self._head, PAGE
        last = newest((before(head, self._overlap), self._start))
        oldest: str | None = None  # of a first page that is full and does not reach back to the head
        is_first = True
        while True:
            asked_at = datetime.now(UTC)
            try:
                page = await self._api.page(self._timeline, limit=limit, min_id=last)
            except TooLargeError:
                if limit == 1:
                    raise
                limit //= 2
                continue
            self.read_at = asked_at
            for _ in range(page.unreadable):
                yield _skipped("a status of a page has no id", SkipReason.UNREADABLE)
            fresh = sorted((number for number in page.statuses if id_order(number) > id_order(last)), key=id_order)
            # One known status may be `last` itself, if a server takes min_id as included.
            if oldest is not None and len(page.statuses) - len(fresh) > 1:
                yield self._passed_over(head, oldest)
            if not fresh:
                return
            for number in fresh:
                status = page.statuses[number]
                if self._versions.get(number) != _version(status):
                    yield self._found(status, edited=number in self._versions)
            is_full = is_first and head != NOTHING and len(fresh) == limit
            oldest = fresh[0] if is_full and id_order(fresh[0]) > id_order(head) else None
            last, is_first = fresh[-1], False

    def _passed_over(self, head: str, oldest: str) -> Found:
        reason = f"{self._api.server} gives only the latest posts of {self._timeline.name}: it does not know min_id"
        return Found(SourceGap(since=id_time(head), until=id_time(oldest), reason=reason, partial=True))

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
                if listening:
                    self.read_at = datetime.now(UTC)
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
        if number is not None and len(number) <= LONGEST_ID:
            self._head = newest((self._head, number))
            self._versions.set(number, _version(status))
        else:
            number = None
        if not isinstance(event, SourcePost):
            return Found(event, number)
        return Found(replace(event, edited=edited), number, event.created_at)


def _deleted(number: str) -> Found:
    if 0 < len(number) <= LONGEST_ID:
        return Found(SourceDeletion(id=number))
    return _skipped("a deletion has no id", SkipReason.UNREADABLE)


def _version(status: Mapping[str, Any]) -> str:
    return str(status.get("edited_at"))[:_LONGEST_VERSION]


def _skipped(detail: str, reason: SkipReason = SkipReason.NOT_A_POST) -> Found:
    return Found(skipped(detail, reason))
