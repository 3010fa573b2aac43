"""The steady part of a run, found from when its results came. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WARM_SHARE = 0.1
"""Of the results, left out at the beginning: start-up, caches, the first fetches."""

_LATEST_BEGIN = 0.9
"""Share of the results by which the steady part must have begun."""

_SHORTEST_S = 0.25
"""A shorter steady part is a single burst, whose length says nothing about the work."""


@dataclass(frozen=True)
class Steady:
    """The part of a run that counts.

    Attributes:
        begin: seconds since 1970.
        end: the same.
        posts: results within, those at `begin` left out.
    """

    begin: float
    end: float
    posts: int

    @property
    def per_second(self) -> float:
        """Results a second."""
        return self.posts / (self.end - self.begin)


def steady(times: Sequence[float], end: float | None = None) -> Steady:
    """What comes after the first `WARM_SHARE` of the results.

    Results come in bursts, and the work for a burst is done before it. So the part begins at the end of one: before the
    first pause, from there on, that is at least half as long as the longest. Where results come evenly, that is there.

    Args:
        times: when each result was there, in seconds since 1970, in any order.
        end: when the whole work was done, where that is later than the last result.

    Raises:
        ValueError: All results came at once; there is nothing to take a rate of.
    """
    ordered = np.sort(np.asarray(times, np.float64))
    first, limit = int(len(ordered) * WARM_SHARE), int(len(ordered) * _LATEST_BEGIN)
    pauses = np.diff(ordered[first : limit + 1])
    if not pauses.size or ordered[-1] - ordered[first] < _SHORTEST_S:
        raise ValueError(f"{len(ordered)} results came in one burst: too few posts to measure a rate")
    last_before = first + int(np.argmax(pauses >= pauses.max() / 2))
    part = Steady(
        begin=float(ordered[last_before]),
        end=max(float(ordered[-1]), end or 0.0),
        posts=len(ordered) - last_before - 1,
    )
    if part.end - part.begin < _SHORTEST_S:
        raise ValueError(f"{len(ordered)} results came in bursts too few to measure a rate; give more posts")
    return part
