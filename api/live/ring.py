"""The events that a process has seen last: the newest state of each window, and the latest posts. Pure.

An event has an id, which rises. A newer state of a window replaces the older one. If the ring is full, the oldest
events are dropped, and a client whose cursor is before them has a *gap*: it cannot know what it has missed.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What an event tells."""

    WINDOW = "window"
    POST = "post"


class Event(NamedTuple):
    """An event.

    Attributes:
        kind: what it tells.
        key: names the window or the post. A newer event with the same key replaces this one.
        keywords: the keywords to which it belongs.
        data: its content, as JSON.
    """

    kind: Kind
    key: str
    keywords: tuple[str, ...]
    data: bytes


class Found(NamedTuple):
    """What is newer than a cursor.

    Attributes:
        events: the events, oldest first.
        cursor: the cursor after them.
        gap: whether events after the former cursor may have been dropped.
    """

    events: list[Event]
    cursor: int
    gap: bool


class EventRing:
    """The latest events of a process. All methods must be called in one thread.

    Attributes:
        epoch: tells the ids of this ring from those of other processes.
        last_id: the id of the newest event; 0 if there was none.
    """

    def __init__(self, *, most_events: int, most_bytes: int) -> None:
        """Create a ring without events.

        Args:
            most_events: The most events that are kept.
            most_bytes: The most bytes of their content.
        """
        self.epoch = secrets.token_hex(4)
        self.last_id = 0
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: OrderedDict[tuple[Kind, str], tuple[int, Event]] = OrderedDict()
        """By kind and key: the id and the event, oldest first."""
        self._by_keyword: dict[str, OrderedDict[tuple[Kind, str], None]] = {}
        """By keyword: its events, oldest first."""
        self._bytes = 0
        self._dropped = 0
        """The id of the newest event that was dropped, and not replaced."""

    def __len__(self) -> int:
        """Returns the number of events."""
        return len(self._events)

    def put(self, events: Iterable[Event]) -> None:
        """Add events."""
        for event in events:
            self._remove((event.kind, event.key))
            self.last_id += 1
            self._events[event.kind, event.key] = self.last_id, event
            self._bytes += len(event.data)
            for keyword in event.keywords:
                self._by_keyword.setdefault(keyword, OrderedDict())[event.kind, event.key] = None
        while len(self._events) > self._most_events or self._bytes > self._most_bytes:
            oldest, (id_, _) = next(iter(self._events.items()))
            self._remove(oldest)
            self._dropped = id_

    def lose(self) -> None:
        """Note that events were missed, so that every client learns of a gap."""
        self.last_id += 1
        self._dropped = self.last_id

    def since(self, cursor: int, keywords: Collection[str], kinds: Collection[Kind], most: int) -> Found:
        """Returns the newest events after a cursor.

        Args:
            cursor: the id of the last event that the client knows.
            keywords: only events that belong to one of these.
            kinds: only events of these kinds.
            most: the most events. If there are more, the oldest are left out, and there is a gap.
        """
        newer: dict[int, Event] = {}
        for keyword in keywords:
            for name in reversed(self._by_keyword.get(keyword, OrderedDict())):
                id_, event = self._events[name]
                if id_ <= cursor:
                    break
                if event.kind in kinds:
                    newer[id_] = event
        ids = sorted(newer)
        left_out = len(ids) > most
        return Found([newer[id_] for id_ in ids[-most:]], self.last_id, cursor < self._dropped or left_out)

    def id_of(self, cursor: int) -> str:
        """Returns the id of a cursor for a client."""
        return f"{self.epoch}-{cursor}"

    def cursor_of(self, id_: str) -> int | None:
        """Returns the cursor of an id that a client sends; None if this ring has not given it out."""
        epoch, _, number = id_.partition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit()) or int(number) > self.last_id:
            return None
        return int(number)

    def _remove(self, name: tuple[Kind, str]) -> None:
        found = self._events.pop(name, None)
        if found is None:
            return
        _, event = found
        self._bytes -= len(event.data)
        for keyword in event.keywords:
            of_keyword = self._by_keyword[keyword]
            del of_keyword[name]
            if not of_keyword:
                del self._by_keyword[keyword]
