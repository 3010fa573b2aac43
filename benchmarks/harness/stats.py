"""Arithmetic of the measurements: the steady part of a run, percentiles, medians with their spread. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WARM_SHARE = 0.1
"""Of the results, left out at the beginning: start-up, caches, the first fetches."""

_LATEST_BEGIN = 0.9
"""Share of the results by which the steady part must have begun."""

_SHORTEST_S = 0.25
"""A shorter steady part is a single burst, whose length says nothing about the work."""


@dataclass(frozen=True)
class Spread:
    """A figure that was measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


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


def percentiles(values: Sequence[float], wanted: Sequence[float] = (50, 95, 99)) -> tuple[float, ...]:
    """Percentiles of at least one value, interpolated linearly."""
    return tuple(float(found) for found in np.percentile(values, wanted))


def at(samples: Sequence[tuple[float, float]], moment: float) -> float:
    """A cumulative figure at a moment, from samples of it in the order of time; flat beyond them."""
    return float(np.interp(moment, [when for when, _ in samples], [value for _, value in samples]))


def ratios(rounds: Mapping[int, float], reference: Mapping[int, float]) -> Spread | None:
    """A figure to another's, round by round, so that what else the machine did falls on both.

    None where they have no round in common.
    """
    common = [rounds[number] / reference[number] for number in rounds if number in reference]
    return Spread.of(common) if common else None
