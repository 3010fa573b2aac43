"""The times at which posts are due at a fixed rate. Pure: the caller reads the clock.

A post's latency is measured from the time it was due, not from the time it was sent. Otherwise a system that slows the
producer down would look fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Posts at equal intervals.

    Attributes:
        begin: When the first post is due, in seconds since 1970.
        rate: Posts a second.
        posts: Number of posts.
    """

    begin: float
    rate: float
    posts: int

    def due(self, now: float) -> int:
        """Returns how many posts are due at `now` or before."""
        if now < self.begin:
            return 0
        # Adding a microsecond makes a post due at its own time: a float holds seconds since 1970 to about 0.2 µs.
        return min(self.posts, math.floor((now - self.begin + 1e-6) * self.rate) + 1)

    def at(self, number: int) -> float:
        """Returns when post `number` is due, in seconds since 1970. The first post is 0."""
        return self.begin + number / self.rate

    @property
    def end(self) -> float:
        """When the last post is due, in seconds since 1970."""
        return self.at(self.posts - 1)


def post_count(rate: float, seconds: float) -> int:
    """Returns the number of posts in `seconds` at `rate`; at least 20, so that percentiles can be computed."""
    return max(20, round(rate * seconds))
