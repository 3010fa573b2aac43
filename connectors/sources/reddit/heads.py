"""Where each listing was read last, and the cursor that carries it. Pure.

The cursor has the newest items of each listing with their times. Several, because Reddit no longer lists an item that
was deleted; and with times, because all of them may be.
"""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors.errors import RejectedError
from connectors.sources.reddit.items import Place

KEPT: Final = 10
"""The newest items that are kept of each listing."""

_VERSION: Final = 1
_DAY: Final = timedelta(days=1)


class Head:
    """How far a listing was read: up to the newest of its kept items.

    Items older than `floor` were read before, or existed before the source began. Later items are new unless they are
    kept, also if they are older than the newest kept one.
    """

    def __init__(self, floor: Place, kept: Iterable[Place] = ()) -> None:
        """Begin with what is known.

        Args:
            floor: the oldest place at which an item is new, unless it is kept.
            kept: the newest items, at most `KEPT`.
        """
        self.floor = floor
        self._kept = sorted(kept)
        self._text: str | None = None

    @property
    def at(self) -> datetime:
        """The time of the newest item."""
        return datetime.fromtimestamp((self._kept[-1] if self._kept else self.floor).seconds, UTC)

    def has(self, place: Place) -> bool:
        """Returns whether an item is kept."""
        return place in self._kept

    def is_new(self, place: Place) -> bool:
        """Returns whether an item is neither kept nor older than the floor."""
        return place >= self.floor and place not in self._kept

    def add(self, place: Place) -> None:
        """Note that an item was read."""
        if not self.is_new(place):
            return
        insort(self._kept, place)
        if len(self._kept) > KEPT:
            del self._kept[0]
            self.floor = self._kept[0]
        self._text = None

    def to_json(self) -> str:
        """Returns the JSON for the cursor."""
        if self._text is None:
            self._text = json.dumps({"floor": self.floor, "kept": self._kept}, separators=(",", ":"))
        return self._text


def first_head(listed: Iterable[Place], now: datetime) -> Head:
    """Returns the head of a listing that is read for the first time: everything in it is known.

    Args:
        listed: the places of its newest items.
        now: the present time. Without items, everything from the last day on is new: this clock may be ahead of
            Reddit's.
    """
    kept = sorted(listed)[-KEPT:]
    return Head(kept[0] if kept else Place(int((now - _DAY).timestamp()), 0), kept)


def write_cursor(heads: Mapping[str, Head]) -> str:
    """Returns the cursor for the heads of listings."""
    parts = ",".join(f"{json.dumps(name)}:{head.to_json()}" for name, head in heads.items())
    return f'{{"v":{_VERSION},"listings":{{{parts}}}}}'


def read_cursor(cursor: str, listings: Collection[str]) -> dict[str, Head]:
    """Returns the heads of those listings that the cursor knows.

    Raises:
        RejectedError: `cursor` is not a cursor of this version.
    """
    try:
        found = json.loads(cursor)
        version, heads = found["v"], found["listings"]
        if not isinstance(heads, dict):
            raise TypeError("the listings are not an object")
        if version == _VERSION:
            return {name: _head(heads[name]) for name in listings if name in heads}
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise RejectedError("the cursor is not one of reddit") from exc
    raise RejectedError(f"the cursor of reddit has version {str(version)[:20]}; this program reads {_VERSION}")


def _head(value: Any) -> Head:  # noqa: ANN401 - parsed JSON
    kept = [_place(one) for one in value["kept"]]
    if len(kept) > KEPT:
        raise ValueError("too many items")
    return Head(_place(value["floor"]), kept)


def _place(value: Any) -> Place:  # noqa: ANN401 - parsed JSON
    place = Place(*value)
    if not all(type(part) is int for part in place) or not (0 <= place.seconds < 10**10 and 0 <= place.number < 36**13):
        raise ValueError("not a place")
    return place
