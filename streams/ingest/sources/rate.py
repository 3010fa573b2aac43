"""How many posts a second there were lately. Pure."""

from __future__ import annotations

from collections import deque

SPAN_S = 60.0
"""Seconds over which the rate is taken."""

_TICK_S = 1.0
"""Seconds between two marks."""

_LEAST_S = 10.0
"""The shortest time that a rate is taken over: after a restart a network may repeat much at once."""


class Rate:
    """The rate of a count that rises, over the last `SPAN_S` seconds, or since the start if that was later."""

    def __init__(self, total: int, now: float) -> None:
        """Start with a count, at a time in seconds of a clock that never goes back."""
        self._total = total
        self._marks: deque[tuple[float, int]] = deque([(now, total)])

    def note(self, total: int, now: float) -> None:
        """Note the present count."""
        self._total = total
        if now - self._marks[-1][0] >= _TICK_S:
            self._marks.append((now, total))
        while len(self._marks) > 1 and self._marks[1][0] <= now - SPAN_S:
            self._marks.popleft()

    def per_second(self, now: float) -> float:
        """Returns the rate."""
        since, before = self._marks[0]
        return (self._total - before) / max(now - since, _LEAST_S)
