"""Items that the API does not show yet, and the cursor. Pure.

The API answers `null` for an item whose number is taken but that is not published: for some seconds, or as long as an
author delays comments. The source goes on with the next items, and asks for these ones again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from connectors.errors import RejectedError

MOST = 200
"""Absent items that are remembered. If there are more, the oldest ones are given up."""

_CURSOR = re.compile(r"(\d{1,15})(?:;(\d{1,15}(?:,\d{1,15})*))?", re.ASCII)


class Absent:
    """The absent items, and since when each one is."""

    def __init__(self, items: Iterable[int], now: float) -> None:
        """Begin with items of a cursor.

        Args:
            items: the numbers.
            now: the current time in seconds, of a clock that never goes back.
        """
        self._since = dict.fromkeys(items, now)

    @property
    def items(self) -> tuple[int, ...]:
        """The numbers, in the order in which they were found absent."""
        return tuple(self._since)

    def add(self, item: int, now: float) -> None:
        """Remember an item, unless it is remembered already."""
        self._since.setdefault(item, now)

    def remove(self, item: int) -> None:
        """Forget an item, if it is remembered."""
        self._since.pop(item, None)

    def given_up(self, before: float) -> list[int]:
        """Forget and return the items that have been absent since before a time, and those above the limit."""
        old = [item for item, since in self._since.items() if since < before]
        old += [item for item in self._since if item not in old][: max(0, len(self._since) - len(old) - MOST)]
        for item in old:
            del self._since[item]
        return old


def write_cursor(last: int, absent: Sequence[int]) -> str:
    """Returns the cursor: the last item, and after a semicolon the absent items before it, if there are any."""
    return f"{last};{','.join(map(str, absent))}" if absent else str(last)


def read_cursor(cursor: str) -> tuple[int, list[int]]:
    """Returns the last item and the absent ones.

    Raises:
        RejectedError: `cursor` is not a cursor of this source.
    """
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise RejectedError("the cursor is not one of hackernews: it begins with the number of an item")
    return int(parts[1]), [int(item) for item in parts[2].split(",")] if parts[2] else []
