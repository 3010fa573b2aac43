"""A circuit breaker: after a failure, calls are refused at once for a while, and then one call tries again."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class CircuitBreaker:
    """Says whether a call may be tried.

    It is *closed* while calls succeed. A failure opens it for `FIRST_PAUSE_S`; then one call may try, and the others
    are still refused until that one has ended. Each failure in a row doubles the pause, up to `LONGEST_PAUSE_S`.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self._opens_at = 0.0
        self._trying = False

    @property
    def is_closed(self) -> bool:
        """Whether the last call that ended has succeeded."""
        return not self._pause_s

    def allows(self) -> bool:
        """Returns whether a call may be tried now. If so, the caller reports its end by one of the other methods."""
        if self.is_closed:
            return True
        if self._trying or self._clock() < self._opens_at:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """A call had an answer."""
        self._pause_s = 0.0
        self._trying = False

    def failed(self) -> None:
        """A call had no answer."""
        if self._trying or self.is_closed:  # not the calls that were under way when the first one of them failed
            self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._opens_at = self._clock() + self._pause_s
        self._trying = False

    def cancelled(self) -> None:
        """A call ended without telling anything."""
        self._trying = False
