"""Counts the requests of the last minute, so that no minute has more than the limit. Pure.

Time is divided into parts of a second, and requests are counted by part. A request is accepted if the parts that
overlap the last 61 seconds have fewer than the limit. This is the sliding window of counters of
https://www.figma.com/blog/an-alternative-approach-to-rate-limiting/, and a part counts as a whole if it overlaps the
window. So the count is never too low: any 60 seconds have at most `limit` requests, wherever they begin. It is too high
by up to two seconds of requests, so a client that sends evenly is accepted at 60/62 of its limit.

A token bucket or GCRA would need less memory. They accept up to twice the limit in the minute after a pause.

The 61st second is for leases. A process takes several requests at once and spends them within `LEASE_S`. They are
counted when they are taken, which is up to a second before they come.

    parts                0     1     2   …   60    61    62
    at 61.5 s these      |_________________________|↑
    at 62.0 s these            |_________________________|↑

`lua/take.lua` does the same in Redis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW_S = 60
"""Seconds in which a caller may send its limit."""

LEASE_S = 1
"""Seconds within which requests that were taken together are sent."""

PARTS = WINDOW_S + LEASE_S + 1
"""Parts of a second that are counted: that of now, and those that overlap the time before."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a wish for requests.

    Attributes:
        given: how many may be sent.
        remaining: how many more could be taken now.
        retry_after_s: seconds until more can be taken; 0 if that is now.
    """

    given: int
    remaining: int
    retry_after_s: float


class SlidingWindow:
    """The requests of one caller."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def take(self, wanted: int, limit: int, now_s: float) -> Taken:
        """Count up to `wanted` requests, as many as the limit allows.

        Args:
            wanted: Requests, 1 or more.
            limit: Requests in a minute, 1 or more.
            now_s: Seconds of any clock. If it goes back, requests count in the latest part.
        """
        part = self._forget(now_s)
        used = sum(self._counts.values())
        given = max(0, min(wanted, limit - used))
        if given:
            self._counts[part] = self._counts.get(part, 0) + given
        remaining = max(0, limit - used - given)
        retry_after_s = 0.0 if remaining else max(0.0, min(self._counts) + PARTS - now_s)
        return Taken(given, remaining, retry_after_s)

    def add(self, number: int, now_s: float) -> None:
        """Count requests that somebody else has allowed."""
        part = self._forget(now_s)
        self._counts[part] = self._counts.get(part, 0) + number

    def _forget(self, now_s: float) -> int:
        """Forget the parts that are over, and return the part of now."""
        part, latest = math.floor(now_s), max(self._counts, default=None)
        if latest is not None and latest - part >= PARTS:
            self._counts.clear()  # to wait for a clock that was set back could take hours
        elif latest is not None:
            part = max(part, latest)
        for old in [one for one in self._counts if one <= part - PARTS]:
            del self._counts[old]
        return part
