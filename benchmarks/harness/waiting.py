"""Waits for other processes, with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.05
"""Seconds between two checks of a condition."""


class Stall:
    """Detects that a count has stopped growing.

    Attributes:
        limit_s: Seconds without growth after which the count is stalled.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._largest = 0
        self._changed = time.monotonic()

    def reached(self, count: int) -> bool:
        """Returns whether the count has not grown for more than `limit_s`. Call it with each new count."""
        now = time.monotonic()
        if count > self._largest:
            self._largest, self._changed = count, now
        return now - self._changed > self.limit_s


def wait_until(condition: Callable[[], bool], seconds: float, check: Callable[[], None] | None = None) -> bool:
    """Wait until a condition holds.

    Args:
        condition: Called every `POLL_S`.
        seconds: How long to wait.
        check: Called before each check of the condition. It raises if the condition can no longer hold.

    Returns:
        Whether the condition held in time.
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
