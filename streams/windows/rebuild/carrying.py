"""Makes the recounted tables the successors of the old ones: under the seal, a page of windows at a time.

1. What has left the retention since the rebuild began goes. 2. A window that both tables have stays what it was
published as, if they agree on it, else its revision rises. 3. A window that only the old tables have is copied if it
was not counted anew, or else left empty. 4. The rest of the state follows (`scope.final_state`).
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
"""Windows that one script carries over: milliseconds of the server's time."""


@dataclass
class Carried:
    """What became of the windows: all there are, those that changed, and of these those that are empty now."""

    windows: int = 0
    changed: int = 0
    emptied: int = 0


class Carrier:
    """Carries everything over; the old tables must be sealed, and the recount at its end."""

    def __init__(
        self, old: TableEditor, rebuilt: TableEditor, recount: Recount, on_page: Callable[[], Awaitable[None]]
    ) -> None:
        """Prepare it; `on_page` is called after each page."""
        self._old = old
        self._rebuilt = rebuilt
        self._recount = recount
        self._scope = recount.scope
        self._on_page = on_page
        self._carried = Carried()

    async def run(self) -> Carried:
        """Do it, shard by shard."""
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
        """Remove windows that the old tables removed while these were counted; their posts of all keywords."""
        removed = 0
        for page in _pages(await self._rebuilt.ended(shard, size, to)):
            there = await self._old.posts(shard, page)
            gone = [key for key, posts in zip(page, there, strict=True) if posts is None]
            counts = zip(gone, await self._rebuilt.posts(shard, gone), strict=True)
            removed += sum(posts or 0 for key, posts in counts if key.keyword == ALL_KEYWORDS)
            if gone:
                await self._rebuilt.drop(shard, size, gone)
        return removed

    async def _reconcile(self, shard: int, size: int) -> None:
        start = 0
        while page := await self._rebuilt.members(shard, size, start, _PAGE):
            start += len(page)
            self._carried.windows += len(page)
            self._carried.changed += await self._rebuilt.carry(self._old, shard, size, page, "reconcile")
            await self._on_page()

    async def _carry_missing(self, shard: int, size: int) -> None:
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
            # One that has left the retention leaves the tables as it would have, but for what it was false about.
            if false := [key for key in by_action.get(Action.COUNT, []) if key not in self._scope.remaining]:
                emptied = await self._rebuilt.carry(self._old, shard, size, false, "empty")
                self._carried.windows += len(false)
                self._carried.emptied += emptied
                self._carried.changed += emptied
            await self._on_page()

    async def _posts_in_no_window(self, shard: int) -> Counter[int]:
        """Posts of windows that were not counted anew and are not in the old tables either, by size."""
        found: Counter[int] = Counter()
        for page in _pages(list(self._recount.kept)):
            for key, posts in zip(page, await self._rebuilt.posts(shard, page), strict=True):
                found[key.size] += self._recount.kept[key] if posts is None else 0
        return found


def _pages(keys: list[WindowKey]) -> Iterator[list[WindowKey]]:
    return (keys[start : start + _PAGE] for start in range(0, len(keys), _PAGE))
