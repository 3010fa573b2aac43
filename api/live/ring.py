"""The events that a process has seen last: the newest state of each window, and the latest posts. Pure.

An event has an id, which rises. A newer state of a window replaces the older one. If the ring is full, the oldest
events are dropped, and a client whose cursor is before them has a *gap*: it cannot know what it has missed. Posts that
were never put into the ring, because there are too many, are only counted.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What an event tells."""

    WINDOW = "window"
    POST = "post"


MOST_SKIPS = 1_000
"""For how many times the number of skipped posts is kept."""


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
        skipped: posts that are left out on purpose, because there are too many.
    """

    events: list[Event]
    cursor: int
    gap: bool
    skipped: int


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
        self._by_keyword: dict[tuple[Kind, str], OrderedDict[tuple[Kind, str], None]] = {}
        """By kind and keyword: its events, oldest first."""
        self._bytes = 0
        self._dropped = dict.fromkeys(Kind, 0)
        """By kind: the id of the newest event that was dropped, and not replaced."""
        self._skips: deque[tuple[int, int]] = deque(maxlen=MOST_SKIPS)
        """An id, and the posts that were skipped then."""

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
                self._by_keyword.setdefault((event.kind, keyword), OrderedDict())[event.kind, event.key] = None
        while len(self._events) > self._most_events or self._bytes > self._most_bytes:
            oldest, (id_, _) = next(iter(self._events.items()))
            self._remove(oldest)
            self._dropped[oldest[0]] = id_

    def lose(self) -> None:
        """Note that events were missed, so that every client learns of a gap."""
        self.last_id += 1
        self._dropped = dict.fromkeys(Kind, self.last_id)

    def skip(self, posts: int) -> None:
        """Note that posts were left out on purpose, so that clients of posts learn how many."""
        self.last_id += 1
        self._skips.append((self.last_id, posts))

    def since(self, cursor: int, keywords: Collection[str], kind: Kind, most: int) -> Found:
        """Returns the newest events of a kind after a cursor.

        Args:
            cursor: the id of the last event that the client knows.
            keywords: only events that belong to one of these.
            kind: only events of this kind.
            most: the most events. If there are more, the oldest are left out. Then there is a gap of windows, but posts
                are skipped.
        """
        newer: dict[int, Event] = {}
        for keyword in keywords:
            for name in reversed(self._by_keyword.get((kind, keyword), OrderedDict())):
                id_, event = self._events[name]
                if id_ <= cursor:
                    break
                newer[id_] = event
        ids = sorted(newer)
        left_out = max(0, len(ids) - most)
        gap, skipped = cursor < self._dropped[kind], 0
        if kind is Kind.POST:
            skipped = left_out + self._skipped_since(cursor)
        else:
            gap = gap or left_out > 0
        return Found([newer[id_] for id_ in ids[-most:]], self.last_id, gap, skipped)

    def _skipped_since(self, cursor: int) -> int:
        skipped = 0
        for id_, posts in reversed(self._skips):
            if id_ <= cursor:
                break
            skipped += posts
        return skipped

    def id_of(self, *cursors: int) -> str:
        """Returns the id of cursors for a client."""
        return "-".join([self.epoch, *map(str, cursors)])

    def cursors_of(self, id_: str, number: int) -> list[int] | None:
        """Returns the cursors of an id that a client sends; None if this ring has not given it out.

        `number` is how many cursors there are. An id with one cursor stands for so many equal ones.
        """
        epoch, *found = id_.split("-")
        if epoch != self.epoch or not all(one.isascii() and one.isdigit() for one in found):
            return None
        cursors = [int(one) for one in found]
        if len(cursors) not in {1, number} or max(cursors) > self.last_id:
            return None
        return cursors * number if len(cursors) == 1 else cursors

    def _remove(self, name: tuple[Kind, str]) -> None:
        found = self._events.pop(name, None)
        if found is None:
            return
        _, event = found
        self._bytes -= len(event.data)
        for keyword in event.keywords:
            of_keyword = self._by_keyword[event.kind, keyword]
            del of_keyword[name]
            if not of_keyword:
                del self._by_keyword[event.kind, keyword]
