"""When which post is due, at a fixed rate. Pure: the clock is the caller's.

A post's latency counts from the moment it was due, not from when a late producer came to send it: else a system that
holds the producer up would look fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Posts at even distances.

    Attributes:
        begin: when the first is due, in seconds since 1970.
        rate: posts a second.
        posts: how many.
    """

    begin: float
    rate: float
    posts: int

    def due(self, now: float) -> int:
        """How many posts are due by `now`, that moment included."""
        if now < self.begin:
            return 0
        # A microsecond more, so that a post is due at its own time: seconds since 1970 are known to a quarter of that.
        return min(self.posts, math.floor((now - self.begin + 1e-6) * self.rate) + 1)

    def at(self, number: int) -> float:
        """When post `number` is due; the first is 0."""
        return self.begin + number / self.rate

    @property
    def end(self) -> float:
        """When the last is due."""
        return self.at(self.posts - 1)


def posts_for(rate: float, seconds: float) -> int:
    """Posts in so many seconds; at least 20, so that there are percentiles at all."""
    return max(20, round(rate * seconds))
