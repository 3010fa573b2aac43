"""How long a source waits after an error, before it connects again. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from connectors.sources.protocol import RateLimitError


@dataclass(frozen=True)
class BackoffLimits:
    """The limits of the waits, in seconds.

    Attributes:
        first_s: the wait after the first error.
        most_s: the longest wait after an error.
        limited_first_s: the wait after the first answer that asks to wait, and names no time.
        limited_most_s: the longest wait after such an answer.
        named_most_s: the longest wait if the network names a time. A longer one is cut to this.
    """

    first_s: float = 1.0
    most_s: float = 60.0
    limited_first_s: float = 5.0
    limited_most_s: float = 320.0
    named_most_s: float = 900.0


class Backoff:
    """Doubles the wait with each error, and adds jitter, so that many clients do not return at the same moment."""

    def __init__(self, limits: BackoffLimits, *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._limits = limits
        self._uniform = uniform
        self._errors = 0
        self._limited = 0

    def wait_s(self, error: Exception) -> float:
        """Returns the seconds to wait after an error.

        The wait is between half of the doubled time and all of it. If the network names a time, it is that time, up to
        `named_most_s`, and up to a tenth more.
        """
        limits = self._limits
        if isinstance(error, RateLimitError):
            self._limited += 1
            if error.retry_after_s is not None:
                named = min(error.retry_after_s, limits.named_most_s)
                return max(named * self._uniform(1.0, 1.1), limits.first_s * self._uniform(0.5, 1.0))
            longest = _doubled(limits.limited_first_s, self._limited, limits.limited_most_s)
        else:
            self._errors += 1
            longest = _doubled(limits.first_s, self._errors, limits.most_s)
        return longest * self._uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin anew. Call this after progress, and not merely after a connection was made."""
        self._errors = self._limited = 0


def _doubled(first_s: float, count: int, most_s: float) -> float:
    return min(most_s, first_s * 2.0 ** min(count - 1, 32))
