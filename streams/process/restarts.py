"""When a supervisor starts a process that has ended again, and when it gives up. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """How often and after how long a process is started again.

    Attributes:
        first_s: seconds before the first restart; each further one in a row waits twice as long.
        longest_s: the most seconds before a restart.
        most: restarts in a row. A process that ends once more than this is in a crash loop.
        steady_s: seconds after which a process that was ready counts as recovered: the next end is the first in a row.
    """

    first_s: float = 1.0
    longest_s: float = 30.0
    most: int = 5
    steady_s: float = 60.0


class Restarts:
    """Counts the restarts of one process."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._in_a_row = 0
        self.total = 0
        """Restarts so far."""

    def next_s(self, ready_s: float) -> float | None:
        """Returns the seconds until the process is started again, or None if it is in a crash loop.

        `ready_s` are the seconds for which the process was ready before it ended; 0 if it never was.
        """
        policy = self._policy
        if ready_s >= policy.steady_s:
            self._in_a_row = 0
        if self._in_a_row >= policy.most:
            return None
        # The exponent has a bound, so that any number of restarts in a row is a number of seconds.
        pause: float = min(policy.longest_s, policy.first_s * 2 ** min(self._in_a_row, 64))
        self._in_a_row += 1
        self.total += 1
        return pause
