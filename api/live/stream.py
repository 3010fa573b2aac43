"""What one client of a live stream gets: updates, gaps and signs of life, until it goes or the process stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from api.live.hub import LiveHub
from api.live.ring import Event, Kind
from connectors.deadline import Deadline

HEARTBEAT_S = 15.0
"""Seconds of silence after which a client gets a sign of life, so that proxies keep the connection."""

ADMITTED_S = 30.0
"""Seconds after which a stream looks whether its caller is still admitted."""

MOST_EVENTS = 500
"""The most windows and posts in one update."""


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


async def messages(
    hub: LiveHub,
    stop: asyncio.Event,
    wanted: Subscription,
    *,
    last_id: str | None,
    interval_s: float,
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
        interval_s: least seconds between two updates.
        heartbeat_s: seconds of silence before a sign of life.
        admitted: tells whether the client is still admitted; if not, the stream ends. None for a client that stays.
        admitted_s: seconds after which it is asked again, at the next message.
    """
    ring, loop = hub.ring, asyncio.get_running_loop()
    ask_at = loop.time() + admitted_s
    cursor = ring.last_id if last_id is None else ring.cursor_of(last_id)
    if cursor is None:
        cursor = ring.last_id
        yield _gap(ring.id_of(cursor), "this process does not know the id of the last event")
    # Events of other keywords do not end the silence, because the client does not hear of them.
    silence = Deadline(heartbeat_s)
    while not stop.is_set():
        if admitted is not None and loop.time() >= ask_at:
            if not await admitted():
                yield Message(
                    MessageKind.END, ring.id_of(cursor), b'{"reason":"the credentials are not valid any more"}'
                )
                return
            ask_at = loop.time() + admitted_s
        changed = await _first(hub.changed(cursor), stop, silence.left_s)
        if stop.is_set():
            break
        events, cursor, gap = ring.since(cursor, wanted.keywords, wanted.kinds, MOST_EVENTS)
        if gap:
            yield _gap(ring.id_of(cursor), "there were more events than are kept")
        if events:
            yield Message(MessageKind.UPDATE, ring.id_of(cursor), _content(events))
        has_sent = gap or bool(events)
        if not has_sent and not silence.left_s:
            yield Message(MessageKind.HEARTBEAT, ring.id_of(cursor), b"{}")
            has_sent = True
        if has_sent:
            silence = Deadline(heartbeat_s)
        if changed:
            await _first(asyncio.sleep(interval_s), stop, interval_s)
    yield Message(MessageKind.END, ring.id_of(cursor), b'{"reason":"the process stops"}')


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


def _content(events: list[Event]) -> bytes:
    windows = b",".join(event.data for event in events if event.kind is Kind.WINDOW)
    posts = b",".join(event.data for event in events if event.kind is Kind.POST)
    return b'{"windows":[%b],"posts":[%b]}' % (windows, posts)
