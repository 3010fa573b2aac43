"""From where a stream of Jetstream continues. Pure.

A cursor is the time of an event in microseconds since 1970 (`time_us`). Jetstream sends events out of order when it
changes from replaying to the present, so the latest time that was received does not prove that all before it was.
"""

from __future__ import annotations

from collections import deque

from connectors.errors import RejectedError

REWIND_US = 5_000_000
"""Microseconds before its cursor from which a stream continues: the clocks of two hosts differ."""

SETTLE_S = 10.0
"""Seconds after its receipt in which an event may still be followed by events with earlier times."""

_TICK_S = 0.1
"""Seconds in which only the first of several rising times is kept, so that the memory does not grow with the rate."""

_FIRST_US = 10**15
"""The least number that Jetstream takes for a time. A smaller one is a sequence number of another protocol for it."""

CLOCKS_DIFFER_US = 3_600_000_000
"""Microseconds by which the clocks of a host and of this machine may differ."""


def parse_cursor(cursor: str, *, now_us: int) -> int:
    """Returns the time of a cursor in microseconds.

    Raises:
        RejectedError: `cursor` is not a time from which Jetstream can continue. It would begin now, and not say so.
    """
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise RejectedError("the stored cursor is not a time in microseconds, so it is not one of Bluesky")
    time_us = int(cursor)
    if time_us < _FIRST_US:
        raise RejectedError("the stored cursor is too small to be a time in microseconds")
    if time_us > now_us + CLOCKS_DIFFER_US:
        raise RejectedError("the stored cursor is in the future; is the clock of this machine right?")
    return time_us


class LowWater:
    """The time before which every event was received.

    It is the earliest time among the events of the last `SETTLE_S` seconds, so that an event that was sent too early
    does not move it. While the server repeats what came before the start, it stays at the start.
    """

    def __init__(self, start_us: int) -> None:
        """Start at a cursor."""
        self._start_us = start_us
        # Times that no later event undercuts, in the order of their receipt: they rise.
        self._lows: deque[tuple[float, int]] = deque()

    def add(self, time_us: int, now: float) -> int:
        """Add an event that was received at `now` (seconds, monotonic). Returns the cursor behind it."""
        lows = self._lows
        if lows and time_us >= lows[-1][1] and now - lows[-1][0] < _TICK_S:
            return self._cursor()  # the time before it is earlier, and almost as recent
        while lows and lows[-1][1] >= time_us:
            lows.pop()
        lows.append((now, time_us))
        while len(lows) > 1 and lows[0][0] <= now - SETTLE_S:
            lows.popleft()
        return self._cursor()

    def _cursor(self) -> int:
        low = self._lows[0][1]
        # A host whose clock is behind sends earlier times than those; its own time counts then.
        return self._start_us if self._start_us - REWIND_US <= low < self._start_us else low
