"""What a soak saw, and what it amounts to. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIB = 2**20
WARM_SHARE = 0.1
"""Of the time, left out of the slope: caches fill, and the allocator finds its size."""

MIN_SLOPE_RUN_S = 600.0
"""In a shorter run the slope is noise; it is told, and not judged."""


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment.

    Attributes:
        at: seconds since the beginning.
        rss: memory of the worker and its children, in bytes.
        redis: memory of Valkey's data, in bytes.
        classified: posts in the classified topic.
        counted: posts in the windows.
        waiting: posts in the raw topic that are not classified.
    """

    at: float
    rss: int
    redis: int
    classified: int
    counted: int
    waiting: int

    @property
    def behind(self) -> int:
        """Classified posts that are not in the windows."""
        return self.classified - self.counted


@dataclass(frozen=True)
class Summary:
    """The run in figures.

    Attributes:
        minutes: it lasted.
        posts: classified.
        per_second: after the warm-up.
        rss_mb: the most memory of the worker, in 10^6 bytes.
        slope: of its memory after the warm-up, least squares, in MiB an hour; NaN for fewer than three samples.
        redis_mb: memory of Valkey's data at the end, in 10^6 bytes.
        most_waiting: posts in the raw topic at the worst moment.
        most_behind: classified posts that were not in the windows at the worst moment.
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
    """The samples after the warm-up."""
    return [sample for sample in samples if sample.at >= WARM_SHARE * samples[-1].at]


def slope_of(samples: Sequence[Sample]) -> float:
    """Growth of the worker's memory in MiB an hour, by least squares; NaN for fewer than three samples."""
    if len(samples) < 3:
        return math.nan
    hours = np.array([sample.at for sample in samples]) / 3_600
    memory = np.array([sample.rss for sample in samples]) / MIB
    return float(np.polyfit(hours - hours.mean(), memory, 1)[0])


def summarize(samples: Sequence[Sample]) -> Summary:
    """The figures of at least two samples."""
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


def exceeded_limit(found: Summary, *, limit_mb: float, limit_slope: float) -> str | None:
    """What is wrong, in one line; None if nothing is."""
    if found.rss_mb > limit_mb:
        return f"the worker used {found.rss_mb:.0f} MB, more than {limit_mb:g}"
    if found.minutes * 60 >= MIN_SLOPE_RUN_S and found.slope > limit_slope:
        return f"the worker's memory grew by {found.slope:.1f} MiB an hour, more than {limit_slope:g}"
    return None
