"""The JSON of Reddit's listings -> items and events. Pure.

A listing is `{"kind": "Listing", "data": {"children": […], "after": …}}`, and a child is `{"kind": "t1", "data": {…}}`.
The kind is `t1` for a comment and `t3` for a submission. `after` is the full name from which the listing continues.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.pushshift import event_of
from connectors.sources.shapes.values import members, string, unreadable

REMOVED: Final = "removed"
"""The version of an item whose text says that it was removed."""

_KINDS: Final = ("t1", "t3")
_ID: Final = re.compile(r"[0-9a-z]{1,13}", re.ASCII)


class Place(NamedTuple):
    """The place of an item in a listing. Later items are greater: ids are given in order.

    Attributes:
        seconds: when the item was created, in seconds since 1970.
        number: the id of the item, which Reddit writes in base 36.
    """

    seconds: int
    number: int


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a listing.

    Attributes:
        name: its full name; without one, a text that is the same for the same JSON.
        place: its place; None if it has no id or no time.
        version: changes when the text is edited. `REMOVED` if it was removed.
        event: the post; `SourceSkipped` if it is not a post.
    """

    name: str
    place: Place | None
    version: str
    event: SourceEvent


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        items: the items, the newest first.
        after: the full name from which the listing continues; None at its end.
    """

    items: tuple[Item, ...]
    after: str | None

    @property
    def placed(self) -> list[Item]:
        """The items that have a place."""
        return [item for item in self.items if item.place is not None]


def page_of(listing: object, *, received_at: datetime) -> Page | None:
    """Returns the page; None if the JSON is not a listing.

    Args:
        listing: the parsed JSON, whose texts are not escaped (`raw_json=1`).
        received_at: when it was received, aware.
    """
    data = members(members(listing).get("data"))
    children = data.get("children")
    if not isinstance(children, list):
        return None
    return Page(tuple(item_of(child, received_at=received_at) for child in children), string(data.get("after")))


def item_of(child: object, *, received_at: datetime) -> Item:
    """Returns a child of a listing. The name of its subreddit counts as a hashtag.

    Args:
        child: the parsed JSON.
        received_at: when it was received, aware.
    """
    kind, data = string(members(child).get("kind")), members(members(child).get("data"))
    short_id, seconds = string(data.get("id")), _seconds(data.get("created_utc"))
    place = None
    if kind is not None and short_id is not None and _ID.fullmatch(short_id):
        name = f"{kind[:20]}_{short_id}"
        place = None if seconds is None else Place(seconds, int(short_id, 36))
    else:
        name = f"?{hash(json.dumps(child, sort_keys=True))}"
    event: SourceEvent
    if kind is None or not data:
        event = unreadable("a child of the listing is not what Reddit documents")
    elif kind not in _KINDS:
        event = SourceSkipped(reason=SkipReason.NOT_A_POST, detail="an item of another kind")
    elif place is None:
        event = unreadable("an item has no id or no time")
    else:
        event = event_of(data, received_at=received_at, escaped=False)
    if isinstance(event, SourcePost):
        subreddit = string(data.get("subreddit"))
        event = replace(event, id=name, keywords=() if subreddit is None else (subreddit,))
    removed = isinstance(event, SourceSkipped) and event.reason is SkipReason.REMOVED
    return Item(name, place, REMOVED if removed else str(data.get("edited"))[:40], event)


def _seconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**10:
        return None
    return int(value)
