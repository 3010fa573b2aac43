"""A time limit that several requests share."""

from __future__ import annotations

import time


class Deadline:
    """A moment until which work must be done."""

    def __init__(self, seconds: float) -> None:
        """Begin to count `seconds` from now."""
        self._at = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left; 0 if the time is over."""
        return max(0.0, self._at - time.monotonic())
