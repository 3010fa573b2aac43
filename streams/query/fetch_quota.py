"""Divides the posts of a fetch among the networks that are searched at the same time. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


class Quota:
    """Gives each network a fair share of the posts. What a network leaves of its share goes to the others.

    Attributes:
        full: set when there are as many posts as are wanted.
    """

    def __init__(self, limit: int, names: Sequence[str]) -> None:
        """Divide `limit` posts among networks.

        Args:
            limit: how many posts are wanted, at least 1.
            names: the names of the networks, at least one.
        """
        self.full = asyncio.Event()
        each, more = divmod(limit, len(names))
        self._left = {name: each + (number < more) for number, name in enumerate(names)}
        self._spare = 0
        self._missing = limit
        self._changed = asyncio.Event()

    async def room(self, name: str) -> bool:
        """Wait until a network may bring another post. Returns False if no more posts are wanted."""
        while not self.full.is_set():
            if self._left[name] or self._spare:
                return True
            # The others may leave some of their shares.
            await self._changed.wait()
        return False

    def take(self, name: str) -> bool:
        """Count a post of a network. Returns False if there is no room for it any more."""
        if self._left[name]:
            self._left[name] -= 1
        elif self._spare:
            self._spare -= 1
        else:
            return False
        self._missing -= 1
        if not self._missing:
            self.full.set()
            self._notify()
        return True

    def end(self, name: str) -> None:
        """Give the rest of a network's share to the others, because it finds no more."""
        self._spare += self._left[name]
        self._left[name] = 0
        self._notify()

    def release(self) -> None:
        """Give all shares to whoever is fastest."""
        for name in self._left:
            self.end(name)

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
