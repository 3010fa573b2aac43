"""The samples of a soak, and the figures computed from them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIB = 2**20
WARM_SHARE = 0.1
"""Share of the time at the beginning that is left out of the slope: caches fill, and the allocator's memory grows."""

MIN_SLOPE_RUN_S = 600.0
"""Length of a run in seconds from which on the slope is checked. In a shorter run, it is mostly noise."""


@dataclass(frozen=True)
class Sample:
    """The values measured at one time.

    Attributes:
        at: Seconds since the first sample.
        rss: Memory of the worker and its children, in bytes.
        redis: Memory of Redis's data, in bytes.
        classified: Posts in the classified topic.
        counted: Posts counted in the windows.
        waiting: Posts in the raw topic that are not classified yet.
    """

    at: float
    rss: int
    redis: int
    classified: int
    counted: int
    waiting: int

    @property
    def behind(self) -> int:
        """Classified posts that are not counted in the windows yet."""
        return self.classified - self.counted


@dataclass(frozen=True)
class Summary:
    """The figures of a run.

    Attributes:
        minutes: Length of the run.
        posts: Posts that were classified.
        per_second: Posts a second after the warm-up.
        rss_mb: Largest memory of the worker, in 10^6 bytes.
        slope: Growth of the worker's memory after the warm-up in MiB an hour; NaN for fewer than three samples.
        redis_mb: Memory of Redis's data at the end, in 10^6 bytes.
        most_waiting: Largest number of posts that waited in the raw topic.
        most_behind: Largest number of classified posts that were not counted in the windows.
    """

    minutes: float
    posts: int
    per_second: float
    rss_mb: float
    slope: float
    redis_mb: float
    most_waiting: int
    most_behind: int


def steady_part(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples after the warm-up."""
    return [sample for sample in samples if sample.at >= WARM_SHARE * samples[-1].at]


def slope_of(samples: Sequence[Sample]) -> float:
    """Returns the growth of the worker's memory in MiB an hour, by least squares; NaN for fewer than three samples."""
    if len(samples) < 3:
        return math.nan
    hours = np.array([sample.at for sample in samples]) / 3_600
    memory = np.array([sample.rss for sample in samples]) / MIB
    return float(np.polyfit(hours - hours.mean(), memory, 1)[0])


def summarize(samples: Sequence[Sample]) -> Summary:
    """Returns the figures of at least two samples."""
    steady = steady_part(samples)
    first, last = steady[0], samples[-1]
    return Summary(
        minutes=last.at / 60,
        posts=last.classified,
        per_second=(last.classified - first.classified) / max(last.at - first.at, 1e-9),
        rss_mb=max(sample.rss for sample in samples) / 1e6,
        slope=slope_of(steady),
        redis_mb=last.redis / 1e6,
        most_waiting=max(sample.waiting for sample in samples),
        most_behind=max(sample.behind for sample in samples),
    )


def exceeded_limit(summary: Summary, *, limit_mb: float, limit_slope: float) -> str | None:
    """Returns the limit that was exceeded, in one line; None if none was."""
    if summary.rss_mb > limit_mb:
        return f"the worker used {summary.rss_mb:.0f} MB of memory; the limit is {limit_mb:g} MB (--max-rss)"
    if summary.minutes * 60 >= MIN_SLOPE_RUN_S and summary.slope > limit_slope:
        return (
            f"the worker's memory grew by {summary.slope:.1f} MiB an hour; the limit is {limit_slope:g} (--max-slope)"
        )
    return None
