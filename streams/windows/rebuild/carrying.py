"""Step 5 of a rebuild: carries over what the rebuilt window tables need from the old ones, which are sealed.

For each shard, size by size and a page of windows at a time:

a. remove the windows that have left the retention since the rebuild began;
b. reconcile the windows that were recounted: a window keeps its revision if the old tables have it with the same
   content, and gets a higher one otherwise;
c. take the windows that only the old tables have: copy those that were not recounted, and leave the others empty;
d. set the rest of the state (`scope.final_state`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from streams.records import ALL_KEYWORDS
from streams.windows.rebuild.counting import Recount
from streams.windows.rebuild.editor import TableEditor
from streams.windows.rebuild.scope import Action, final_state
from streams.windows.tumbling import WindowKey, shard_of

_PAGE = 500
"""Windows that one script carries over. It takes milliseconds, in which Redis serves no other client."""


@dataclass
class Carried:
    """Numbers of windows: of all in the rebuilt tables, of those that changed, and of those that were emptied."""

    windows: int = 0
    changed: int = 0
    emptied: int = 0


class Carrier:
    """Carries over the windows and the state of all shards.

    The old tables must be sealed, and the recount must have reached their positions.
    """

    def __init__(
        self, old: TableEditor, rebuilt: TableEditor, recount: Recount, on_page: Callable[[], Awaitable[None]]
    ) -> None:
        """Create the carrier. `on_page` is called after each page."""
        self._old = old
        self._rebuilt = rebuilt
        self._recount = recount
        self._scope = recount.scope
        self._on_page = on_page
        self._carried = Carried()

    async def run(self) -> Carried:
        """Carry over all shards."""
        for shard in range(self._old.shards):
            state = await self._old.state(shard)
            expired: Counter[int] = Counter()
            for size in self._old.sizes:
                expired[size] += await self._expire(shard, size, int(state.get(f"expired_to:{size}", -1)))
                await self._reconcile(shard, size)
                await self._carry_missing(shard, size)
            unbuilt: Counter[int] = Counter()
            if shard == shard_of(ALL_KEYWORDS, self._old.shards):
                expired.update(self._recount.expired)
                unbuilt = await self._posts_in_no_window(shard)
            fields = final_state(
                self._scope,
                state,
                await self._rebuilt.state(shard),
                expired=+expired,
                unbuilt=+unbuilt,
                rebuilt_at=time.time_ns() // 1_000_000,
            )
            await self._rebuilt.set_state(shard, fields)
            await self._on_page()
        return self._carried

    async def _expire(self, shard: int, size: int, to: int) -> int:
        """Do part a. Returns the number of posts in the removed windows of all posts."""
        removed = 0
        for page in _pages(await self._rebuilt.ended(shard, size, to)):
            old_posts = await self._old.posts(shard, page)
            gone = [key for key, posts in zip(page, old_posts, strict=True) if posts is None]
            counts = zip(gone, await self._rebuilt.posts(shard, gone), strict=True)
            removed += sum(posts or 0 for key, posts in counts if key.keyword == ALL_KEYWORDS)
            if gone:
                await self._rebuilt.drop(shard, size, gone)
        return removed

    async def _reconcile(self, shard: int, size: int) -> None:
        """Do part b."""
        start = 0
        while page := await self._rebuilt.members(shard, size, start, _PAGE):
            start += len(page)
            self._carried.windows += len(page)
            self._carried.changed += await self._rebuilt.carry(self._old, shard, size, page, "reconcile")
            await self._on_page()

    async def _carry_missing(self, shard: int, size: int) -> None:
        """Do part c."""
        start = 0
        while page := await self._old.members(shard, size, start, _PAGE):
            start += len(page)
            here, there = await self._rebuilt.posts(shard, page), await self._old.posts(shard, page)
            by_action: dict[Action, list[WindowKey]] = {}
            for key, rebuilt_posts, old_posts in zip(page, here, there, strict=True):
                if rebuilt_posts is None and old_posts is not None:
                    by_action.setdefault(self._scope.action_for(key), []).append(key)
            if kept := by_action.get(Action.KEEP):
                await self._rebuilt.carry(self._old, shard, size, kept, "copy")
                self._carried.windows += len(kept)
            # A window that has left the retention is about to be removed anyway, so it is not kept as an empty one.
            if wrong := [key for key in by_action.get(Action.COUNT, []) if key not in self._scope.remaining]:
                emptied = await self._rebuilt.carry(self._old, shard, size, wrong, "empty")
                self._carried.windows += len(wrong)
                self._carried.emptied += emptied
                self._carried.changed += emptied
            await self._on_page()

    async def _posts_in_no_window(self, shard: int) -> Counter[int]:
        """Returns the posts of windows that were not recounted and that the old tables do not have either, by size."""
        found: Counter[int] = Counter()
        for page in _pages(list(self._recount.kept)):
            for key, posts in zip(page, await self._rebuilt.posts(shard, page), strict=True):
                found[key.size] += self._recount.kept[key] if posts is None else 0
        return found


def _pages(keys: list[WindowKey]) -> Iterator[list[WindowKey]]:
    return (keys[start : start + _PAGE] for start in range(0, len(keys), _PAGE))
