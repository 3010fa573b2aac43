"""Reads what is new in one listing.

A listing is read from its newest item back to what is known, one page after the other. `before`, with which Reddit
lists what is newer than an item, is not used: it has the same answer if that item was deleted as if nothing is new, and
it never shows an item that Reddit lists late, such as one that a moderator has approved.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from connectors.errors import UnavailableError
from connectors.sources.events import SourceDeletion, SourceEvent, SourceGap, SourcePost
from connectors.sources.net import TooLargeError
from connectors.sources.recent import Recent
from connectors.sources.reddit.api import PAGE, Api
from connectors.sources.reddit.heads import Head, first_head
from connectors.sources.reddit.items import REMOVED, Item, Page, Place

MOST = 1_000
"""The items that Reddit lists at most."""

MOST_REQUESTS = MOST // PAGE + 10
"""Requests that one reading takes, about; more if pages are too large."""

_ANCHORS = 3
"""Items of a page behind which the next page is looked for, because the last ones may have been deleted meanwhile."""

_LEAST = MOST // 2
"""An empty page after fewer items is a failure of Reddit, and not the end of what it lists."""

_REMEMBERED = MOST
_LAST = Place(10**10, 0)
"""The place of items without a place, when items are sorted."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing of one or several subreddits.

    Attributes:
        subreddits: the name of a subreddit, or several with `+` between them.
        comments: whether it has the comments, and not the submissions.
    """

    subreddits: str
    comments: bool

    @property
    def name(self) -> str:
        """The name in cursors and messages."""
        return f"r/{self.subreddits}/{'comments' if self.comments else 'new'}"


class Reader:
    """Reads one listing again and again.

    Attributes:
        head: how far the listing was read; None before it is read for the first time.
    """

    def __init__(self, api: Api, listing: Listing, head: Head | None) -> None:
        """Prepare to continue.

        Args:
            api: the server.
            listing: the listing.
            head: how far it was read before; None to begin with what comes after the first reading.
        """
        self.head = head
        self._api = api
        self._listing = listing
        self._versions: Recent[str, str] = Recent(_REMEMBERED)
        # Where the items begin that this process would remember; None before its first reading.
        self._start: Place | None = None

    async def poll(self) -> AsyncGenerator[SourceEvent, None]:
        """Yield what is new, the oldest first, and what has changed. `head` is behind each event when it is yielded.

        Raises:
            ConnectorError: As for `Api.page`.
        """
        items, is_complete = await self._back()
        placed = [item.place for item in items if item.place is not None]
        if self.head is None:
            self.head = first_head(placed, datetime.now(UTC))
        elif not is_complete and (new := [place for place in placed if self.head.is_new(place)]):
            yield self._gap(self.head, min(new), len(items))
        for item in sorted(items, key=lambda one: one.place or _LAST):
            if (event := self._event(item, self.head)) is not None:
                if item.place is not None:
                    self.head.add(item.place)
                yield event
        if self._start is None:
            self._start = min((self.head.floor, *placed))

    def _gap(self, head: Head, oldest: Place, count: int) -> SourceGap:
        """Move the head to below the oldest item, so that the gap is not found again, and return the gap."""
        self.head, self._start = Head(oldest), oldest
        return SourceGap(
            since=head.at,
            until=datetime.fromtimestamp(oldest.seconds, UTC),
            reason=f"{self._listing.name} lists {count} items, and all of them are new: there were more",
            partial=True,
        )

    async def _back(self) -> tuple[list[Item], bool]:
        """Return the items from the newest back to what is known, and whether everything new is among them.

        Raises:
            UnavailableError: Reddit said that there are more items, and then listed none.
            ConnectorError: As for `Api.page`.
        """
        found: dict[str, Item] = {}
        limit, page = await self._page(None, PAGE)
        while True:
            fresh = [item for item in page.items if item.name not in found]
            found.update((item.name, item) for item in fresh)
            placed = page.placed
            if self.head is None or (placed and self._is_known(placed[-1], self.head)):
                return list(found.values()), True
            if page.after is None or not fresh or len(found) >= MOST:
                break
            limit, page = await self._next(page, page.after, limit)
            if not page.items and len(found) < _LEAST:
                raise UnavailableError(
                    f"{self._listing.name} ended after {len(found)} items, and said that it has more"
                )
        # A listing of one page is not cut off: Reddit lists more.
        return list(found.values()), page.after is None and len(found) <= PAGE

    async def _next(self, page: Page, after: str, limit: int) -> tuple[int, Page]:
        """Return the page behind a page; if its last item was deleted meanwhile, that behind the item before."""
        names = [item.name for item in reversed(page.placed)]
        following = Page((), None)
        for anchor in list(dict.fromkeys((after, *names)))[:_ANCHORS]:
            limit, following = await self._page(anchor, limit)
            if following.items:
                break
        return limit, following

    async def _page(self, after: str | None, limit: int) -> tuple[int, Page]:
        """Return a page, and how many items it may have: fewer if a page of so many is too large."""
        while True:
            try:
                return limit, await self._api.page(f"/{self._listing.name}", after=after, limit=limit)
            except TooLargeError:
                if limit == 1:
                    raise
                limit //= 2

    def _is_known(self, item: Item, head: Head) -> bool:
        """Returns whether this item and the older ones of the listing were read before."""
        start = head.floor if self._start is None else self._start
        is_kept = item.place is not None and (item.place <= start or head.has(item.place))
        return is_kept or item.name in self._versions

    def _event(self, item: Item, head: Head) -> SourceEvent | None:
        """Returns the event of an item that is new or has changed; None for another one. Remembers its version."""
        start = head.floor if self._start is None else self._start
        before = self._versions.get(item.name)
        self._versions.set(item.name, item.version)
        if before is None:
            is_old = item.place is not None and (item.place < start or head.has(item.place))
            return None if is_old else item.event
        if before == item.version:
            return None
        if item.version == REMOVED:
            return SourceDeletion(id=item.name)
        if isinstance(item.event, SourcePost):
            return replace(item.event, edited=before != REMOVED)
        return None
