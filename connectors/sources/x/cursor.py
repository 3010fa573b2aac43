"""The times that were received, and the cursor. Pure.

A position is an id of a post: X makes ids of the time in milliseconds since `_FIRST_MS`, above 22 low bits
(docs.x.com/resources/fundamentals/x-ids). Posts come with a delay of some seconds, and not quite in order; so a stream
is resumed from some time before its position.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from connectors.errors import RejectedError
from connectors.sources.events import Positioned, SourceEvent

MOST_HOLES = 20
"""Holes of a position. With more, the two oldest become one, with what was received between them."""

_VERSION = 1
_FIRST_MS = 1_288_834_974_657
_SEQUENCE_BITS = 22
_MOST = 2**63
_AHEAD_MS = 60_000
"""How far an id may be in the future: clocks differ. One further ahead would skip the time until then."""


def id_at(ms: int) -> int:
    """Returns the least id of a time in milliseconds since 1970."""
    return max(0, ms - _FIRST_MS) << _SEQUENCE_BITS


def time_ms(post_id: int) -> int:
    """Returns the time of an id in milliseconds since 1970."""
    return (post_id >> _SEQUENCE_BITS) + _FIRST_MS


def time_of(post_id: int) -> datetime:
    """Returns the time of an id."""
    return datetime.fromtimestamp(time_ms(post_id) / 1_000, UTC)


def earlier(post_id: int, ms: int) -> int:
    """Returns an id that is older by some milliseconds."""
    return max(0, post_id - (ms << _SEQUENCE_BITS))


def number_of(text: str | None) -> int | None:
    """Returns an id as a number; None if the text is not an id of X."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    return found if (found := int(text)) < _MOST else None


@dataclass(frozen=True, slots=True)
class Hole:
    """A time that was not received.

    Attributes:
        since: the id where it begins.
        until: the id where it ends.
    """

    since: int
    until: int

    def after(self, post_id: int) -> Hole:
        """Returns the part of the hole from an id on. It is empty if `since` is not below `until`."""
        return Hole(post_id, self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An event, and how it moves the position.

    Attributes:
        event: the event.
        at: its time; None if it has none.
        newest: everything up to this id was received; None if that is not known.
        opened: a time that was not received.
        fetched: a hole, and the id up to which it was fetched.
    """

    event: SourceEvent
    at: datetime | None = None
    newest: int | None = None
    opened: Hole | None = None
    fetched: tuple[Hole, int] | None = None


@dataclass(slots=True)
class Position:
    """What was received.

    Attributes:
        newest: everything up to this id was received, but for the holes.
        holes: what is still to be fetched, the oldest first.
    """

    newest: int
    holes: list[Hole] = field(default_factory=list)

    def take(self, step: Step, now_ms: int) -> Positioned:
        """Move to behind a step, and return its event with the cursor there."""
        if step.opened is not None:
            self._open(step.opened)
        # An id in the future does not count.
        if step.newest is not None and self.newest < step.newest <= id_at(now_ms + _AHEAD_MS):
            self.newest = step.newest
        if step.fetched is not None:
            self._fetched(*step.fetched)
        return Positioned(step.event, self.text(), step.at)

    def _open(self, hole: Hole) -> None:
        self.holes.append(hole)
        if len(self.holes) > MOST_HOLES:
            first, second = self.holes[:2]
            self.holes[:2] = [Hole(first.since, second.until)]

    def _fetched(self, hole: Hole, until: int) -> None:
        left = [hole.after(until)] if until < hole.until else []
        self.holes = [part for one in self.holes for part in (left if one == hole else [one])]

    def text(self) -> str:
        """Returns the cursor."""
        found: dict[str, object] = {"v": _VERSION, "id": str(self.newest), "at": time_ms(self.newest) // 1_000}
        if self.holes:
            found["holes"] = [[str(hole.since), str(hole.until)] for hole in self.holes]
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def read(cls, cursor: str, now_ms: int) -> Position:
        """Returns the position of a cursor.

        Raises:
            RejectedError: `cursor` is not a cursor of this version, or is in the future.
        """
        try:
            found = json.loads(cursor)
            version, newest = found["v"], number_of(found["id"])
            pairs = [(number_of(since), number_of(until)) for since, until in found.get("holes", [])]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise RejectedError("the cursor is not one of x") from exc
        if version != _VERSION:
            raise RejectedError(f"the cursor of x has version {version!r}; this program reads {_VERSION}")
        holes = [Hole(since, until) for since, until in pairs if since is not None and until is not None]
        if newest is None or len(holes) != len(pairs) or any(hole.since >= hole.until for hole in holes):
            raise RejectedError("the cursor is not one of x: an id or a hole is malformed")
        if newest > id_at(now_ms + _AHEAD_MS):
            raise RejectedError("the cursor of x is in the future; is the clock of this machine right?")
        return cls(newest, holes)
