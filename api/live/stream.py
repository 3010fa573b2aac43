"""What one client of a live stream gets: updates, gaps and signs of life, until it goes or the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from api.live.hub import LiveHub
from api.live.ring import Event, EventRing, Found, Kind
from connectors.deadline import Deadline

HEARTBEAT_S = 15.0
"""Seconds of silence after which a client gets a sign of life, so that proxies keep the connection."""

ADMITTED_S = 30.0
"""Seconds after which a stream looks whether its caller is still admitted."""

MOST_WINDOWS = 500
"""The most windows in one update."""

MOST_POSTS = 200
"""The most posts in one update. Nobody reads more in a quarter of a second; more are counted."""


class MessageKind(StrEnum):
    """What a message tells a client."""

    UPDATE = "update"
    """Windows that have changed, and new posts."""
    GAP = "gap"
    """Something may be missing: read the windows again."""
    HEARTBEAT = "heartbeat"
    """The client has heard nothing for a while, because nothing of its keywords has changed."""
    END = "end"
    """The process stops, or the caller is not admitted any more: connect again."""


class Message(NamedTuple):
    """A message to a client: its kind, the id with which the client resumes after it, and its content as JSON."""

    kind: MessageKind
    id: str
    data: bytes


@dataclass(frozen=True)
class Subscription:
    """What a client wants to see.

    Attributes:
        keywords: its keywords; `*` stands for the windows of all posts, and for posts of any keyword.
        kinds: windows, posts or both.
    """

    keywords: frozenset[str]
    kinds: frozenset[Kind]


@dataclass(frozen=True)
class Intervals:
    """Least seconds between two updates with windows, and between two updates with posts."""

    windows_s: float
    posts_s: float

    def of(self, kind: Kind) -> float:
        """Returns the interval of a kind."""
        return self.posts_s if kind is Kind.POST else self.windows_s


class _Follower:
    """What one kind of events still has to bring to a client."""

    def __init__(self, kind: Kind, cursor: int, interval_s: float) -> None:
        self.cursor = cursor
        self._kind = kind
        self._interval_s = interval_s
        self._most = MOST_POSTS if kind is Kind.POST else MOST_WINDOWS
        self._due_at = 0.0

    def due_in_s(self, now: float) -> float:
        """Returns the seconds until it may bring more; 0 if it may now."""
        return max(0.0, self._due_at - now)

    def take(self, ring: EventRing, keywords: frozenset[str], now: float) -> Found:
        """Returns what is new, and moves the cursor after it."""
        found = ring.since(self.cursor, keywords, self._kind, self._most)
        self.cursor, self._due_at = found.cursor, now + self._interval_s
        return found


async def messages(
    hub: LiveHub,
    stop: asyncio.Event,
    wanted: Subscription,
    *,
    last_id: str | None,
    intervals: Intervals,
    heartbeat_s: float = HEARTBEAT_S,
    admitted: Callable[[], Awaitable[bool]] | None = None,
    admitted_s: float = ADMITTED_S,
) -> AsyncIterator[Message]:
    """Yield the messages for one client.

    A window that changes several times between two updates comes once, in its newest state.

    Args:
        hub: where the events are.
        stop: ends the stream.
        wanted: what the client wants to see.
        last_id: the id of the last message that the client got; None begins with what is new.
        intervals: least seconds between two updates with events of a kind.
        heartbeat_s: seconds of silence before a sign of life.
        admitted: tells whether the client is still admitted; if not, the stream ends. None for a client that stays.
        admitted_s: seconds after which it is asked again, at the next message.
    """
    ring, loop = hub.ring, asyncio.get_running_loop()
    ask_at = loop.time() + admitted_s
    kinds = [kind for kind in Kind if kind in wanted.kinds]
    cursors = [ring.last_id] * len(kinds) if last_id is None else ring.cursors_of(last_id, len(kinds))
    if cursors is None:
        cursors = [ring.last_id] * len(kinds)
        yield _gap(ring.id_of(*cursors), "this process does not know the id of the last event")
    followers = [_Follower(kind, cursor, intervals.of(kind)) for kind, cursor in zip(kinds, cursors, strict=True)]

    def id_now() -> str:
        return ring.id_of(*(one.cursor for one in followers))

    # Events of other keywords do not end the silence, because the client does not hear of them.
    silence = Deadline(heartbeat_s)
    while not stop.is_set():
        if admitted is not None and loop.time() >= ask_at:
            if not await admitted():
                yield Message(MessageKind.END, id_now(), b'{"reason":"the credentials are not valid any more"}')
                return
            ask_at = loop.time() + admitted_s
        changed = await _until_due(hub, followers, stop, silence.left_s)
        if stop.is_set():
            break
        found = [one.take(ring, wanted.keywords, loop.time()) for one in changed]
        has_sent = False
        if any(one.gap for one in found):
            yield _gap(id_now(), "there were more events than are kept")
            has_sent = True
        events, skipped = [event for one in found for event in one.events], sum(one.skipped for one in found)
        if events or skipped:
            yield Message(MessageKind.UPDATE, id_now(), _content(events, skipped))
            has_sent = True
        if not has_sent and not silence.left_s:
            yield Message(MessageKind.HEARTBEAT, id_now(), b"{}")
            has_sent = True
        if has_sent:
            silence = Deadline(heartbeat_s)
    yield Message(MessageKind.END, id_now(), b'{"reason":"the process stops"}')


async def _until_due(
    hub: LiveHub, followers: Sequence[_Follower], stop: asyncio.Event, timeout_s: float
) -> list[_Follower]:
    """Wait until the ring has more for a follower that may bring it, for the end of the process, or for a time.

    Returns the followers that may bring what is new; none if the time is over.
    """
    loop = asyncio.get_running_loop()
    deadline = Deadline(timeout_s)
    while True:
        now = loop.time()
        due = [one for one in followers if not one.due_in_s(now)]
        if changed := [one for one in due if one.cursor < hub.ring.last_id]:
            return changed
        if stop.is_set() or not deadline.left_s:
            return []
        wait_s = min([deadline.left_s, *(one.due_in_s(now) for one in followers if one not in due)])
        if due:
            await _first(hub.changed(hub.ring.last_id), stop, wait_s)
        else:
            await _first(asyncio.sleep(wait_s), stop, wait_s)


async def _first(awaited: object, stop: asyncio.Event, timeout_s: float) -> bool:
    """Wait for something, for the end of the process, or for a time. Returns whether it was the first."""
    task = asyncio.ensure_future(awaited)  # type: ignore[call-overload]
    stopping = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait({task, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return task in done
    finally:
        task.cancel()
        stopping.cancel()


def _gap(id_: str, reason: str) -> Message:
    return Message(MessageKind.GAP, id_, b'{"reason":"%b"}' % reason.encode())


def _content(events: list[Event], skipped: int) -> bytes:
    windows = b",".join(event.data for event in events if event.kind is Kind.WINDOW)
    posts = b",".join(event.data for event in events if event.kind is Kind.POST)
    return b'{"windows":[%b],"posts":[%b],"skipped_posts":%d}' % (windows, posts, skipped)
