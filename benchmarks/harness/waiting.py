"""Waiting for what other processes do, and never for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.05


class Stall:
    """Notices that a count has stopped growing."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._seen = 0
        self._changed = time.monotonic()

    def reached(self, count: int) -> bool:
        """Whether the count has not grown for the limit; to be asked again and again."""
        now = time.monotonic()
        if count > self._seen:
            self._seen, self._changed = count, now
        return now - self._changed > self.limit_s


def until(condition: Callable[[], bool], seconds: float, check: Callable[[], None] | None = None) -> bool:
    """Wait for a condition; whether it came about in time.

    Args:
        condition: asked every `POLL_S`.
        seconds: for it.
        check: called before each question; raises where waiting has become useless.
    """
    deadline = time.monotonic() + seconds
    while True:
        if check is not None:
            check()
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
