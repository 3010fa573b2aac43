"""Remembers where the raw topic ended a while ago, so that a restarted source knows what it sent last. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

_MOST_ENTRIES = 4_000


class _Entry(NamedTuple):
    now: float
    at: datetime | None
    ends: dict[int, int]


class OffsetHistory:
    """The ends of the raw topic at the last times when a position was stored.

    A source that continues from its cursor may repeat events from before it. Their posts lie below the offsets that
    belong to the cursor, so a restarted process begins to read further back: at the ends of a position that is some
    seconds older, by the clock and by the time of the events, which differ while a source catches up.
    """

    def __init__(self, reread: Mapping[int, int], now: float, *, seconds: float) -> None:
        """Start with the offsets that a stored position names; those of the present end if there is none.

        Args:
            reread: offsets by partition.
            now: the time in seconds, of a clock that never goes back.
            seconds: by how much older the offsets are that `add` returns.
        """
        self._seconds = seconds
        self._entries: deque[_Entry] = deque([_Entry(now, None, dict(reread))])

    def add(self, ends: Mapping[int, int], now: float, at: datetime | None) -> dict[int, int]:
        """Add the present ends, and return the offsets from which the topic is to be read again.

        `at` is the time of the last event; None if it is not known.
        """
        entries = self._entries
        entries.append(_Entry(now, at, dict(ends)))
        while len(entries) > 1 and (self._is_old(entries[1], now, at) or len(entries) > _MOST_ENTRIES):
            entries.popleft()
        return entries[0].ends

    def _is_old(self, entry: _Entry, now: float, at: datetime | None) -> bool:
        if entry.now > now - self._seconds:
            return False
        return entry.at is None or at is None or entry.at <= at - timedelta(seconds=self._seconds)
