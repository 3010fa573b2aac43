"""Finds the steady part of a run from the times of its results. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WARM_SHARE = 0.1
"""Share of the results that are left out at the beginning, for start-up, caches and the first fetches."""

_LATEST_BEGIN = 0.9
"""Share of the results by which the steady part must have begun."""

_SHORTEST_S = 0.25
"""The shortest steady part, in seconds. A shorter one is a single burst of results, which gives no rate."""


@dataclass(frozen=True)
class Steady:
    """The part of a run that is measured.

    Attributes:
        begin: its start, in seconds since 1970.
        end: its end, in seconds since 1970.
        posts: the number of results after `begin`.
    """

    begin: float
    end: float
    posts: int

    @property
    def per_second(self) -> float:
        """The number of results a second."""
        return self.posts / (self.end - self.begin)


def steady(times: Sequence[float], end: float | None = None) -> Steady:
    """Find the part of a run after the first `WARM_SHARE` of the results.

    Results come in bursts, and the work for a burst is done before it. So the part begins at the end of a burst: before
    the first pause that is at least half as long as the longest one. If results come evenly, it begins at once.

    Args:
        times: the times of the results, in seconds since 1970, in any order.
        end: the time at which all work was done, if that is later than the last result.

    Raises:
        ValueError: The results came in too few bursts to measure a rate.
    """
    ordered = np.sort(np.asarray(times, np.float64))
    first, limit = int(len(ordered) * WARM_SHARE), int(len(ordered) * _LATEST_BEGIN)
    pauses = np.diff(ordered[first : limit + 1])
    if not pauses.size or ordered[-1] - ordered[first] < _SHORTEST_S:
        raise ValueError(f"{len(ordered)} results came in one burst, which are too few posts to measure a rate")
    last_before = first + int(np.argmax(pauses >= pauses.max() / 2))
    part = Steady(
        begin=float(ordered[last_before]),
        end=max(float(ordered[-1]), end or 0.0),
        posts=len(ordered) - last_before - 1,
    )
    if part.end - part.begin < _SHORTEST_S:
        raise ValueError(f"{len(ordered)} results came in too few bursts to measure a rate; give more posts")
    return part
