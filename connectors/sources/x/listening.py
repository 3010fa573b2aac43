"""Reads the lines of the filtered stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime

from connectors.errors import UnavailableError
from connectors.sources.events import SkipReason, SourcePost, skipped
from connectors.sources.x.api import Api
from connectors.sources.x.cursor import Hole, Step, id_at, time_ms
from connectors.sources.x.posts import Posts
from connectors.sources.x.problems import problems_of, stream_error

_MINUTE_MS = 60_000
SETTLE_MS = 1_000
"""Milliseconds of a new connection in which X may not send everything yet."""

_HOLD_S = 60.0
"""Seconds of a connection in which X may still send again what was asked for. The position stays where it was."""

_WAITED_S = 1.0
"""Seconds of waiting after which a line is known to have come just now. While the source is held up, lines wait in
buffers: a keep-alive from there is older than it looks, and the posts that X sent after it are still unread."""


class Listener:
    """One connection of the stream.

    Attributes:
        listening: set when the first line has come.
        hole: the time before the connection whose posts it does not send; None if there is none.
    """

    def __init__(
        self,
        api: Api,
        posts: Posts,
        *,
        newest: int,
        opens_hole: bool,
        backfill_minutes: int,
        overlap_ms: int,
        silence_s: float,
    ) -> None:
        """Prepare a connection.

        Args:
            api: the API.
            posts: makes events of the posts.
            newest: everything up to this id was received before.
            opens_hole: whether the time from then to the first line is a hole.
            backfill_minutes: the most minutes whose posts X may be asked to send again.
            overlap_ms: milliseconds before `newest` from which on they are asked for.
            silence_s: a stream that sends nothing for this many seconds is dead.
        """
        self.listening = asyncio.Event()
        self.hole: Hole | None = None
        self._api = api
        self._posts = posts
        self._newest = newest
        self._opens_hole = opens_hole
        self._backfill_minutes = backfill_minutes
        self._overlap_ms = overlap_ms
        self._silence_s = silence_s
        self._hold_until = 0.0

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Yield the events of the stream.

        Raises:
            RateLimitError: X asks to wait, or the app has a connection already.
            UnavailableError: The stream failed, ended or was silent.
            RejectedError: The bearer token is wrong, or the account may not use the stream.
        """
        asked_ms = now_ms()
        missed_ms = asked_ms - time_ms(self._newest) + self._overlap_ms
        minutes = min(self._backfill_minutes, -(-missed_ms // _MINUTE_MS))
        async with aclosing(self._api.lines(backfill_minutes=minutes)) as lines:
            while True:
                asked = time.monotonic()
                try:
                    async with asyncio.timeout(self._silence_s):
                        line = await anext(lines)
                except TimeoutError:
                    raise UnavailableError(f"the stream of X was silent for {self._silence_s:g} s") from None
                except StopAsyncIteration:
                    raise UnavailableError("the stream of X ended") from None
                came_ms = now_ms() if time.monotonic() - asked >= _WAITED_S else None
                if not self.listening.is_set():
                    yield self._begun(asked_ms - minutes * _MINUTE_MS if minutes else now_ms())
                    self._hold_until = time.monotonic() + _HOLD_S if minutes else 0.0
                    self.listening.set()
                yield self._step(line, came_ms)

    def _begun(self, complete_from_ms: int) -> Step:
        begins = id_at(complete_from_ms)
        if self._opens_hole and self._newest < begins:
            self.hole = Hole(self._newest, id_at(complete_from_ms + SETTLE_MS))
        return Step(event=skipped("connected"), opened=self.hole, newest=begins)

    def _step(self, line: bytes | None, came_ms: int | None) -> Step:
        """Returns the step of a line. `came_ms` is when it came; None if it may have come long before it was read."""
        if line is None:
            return Step(event=skipped("a line is too long", SkipReason.TOO_LARGE))
        if not line.strip():
            return Step(event=skipped("keep-alive"), newest=came_ms and self._received(id_at(came_ms)))
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, Mapping):
            return Step(event=skipped("a line is not a JSON object", SkipReason.UNREADABLE))
        if "data" not in document and (problems := problems_of(document)):
            raise stream_error(problems)
        event, number = self._posts.event_of(document, since=self._newest, received_at=datetime.now(UTC))
        at = event.created_at if isinstance(event, SourcePost) else None
        return Step(event=event, at=at, newest=None if number is None else self._received(number))

    def _received(self, post_id: int) -> int | None:
        return None if time.monotonic() < self._hold_until else post_id


def now_ms() -> int:
    """Returns the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
