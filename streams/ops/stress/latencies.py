"""Counts latencies in the buckets of an HdrHistogram, cheaply enough for every request of a load. Pure.

`HdrHistogram.record_value` costs 4 µs in Python, about a fifth of what the generator needs for a whole request. So a
running load counts by bucket in a dictionary, and the histogram is made once at the end. Both have the same buckets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

LONGEST_US = 3_600_000_000
"""The longest latency of the histogram: one hour. Longer ones count as this."""

DIGITS = 3
"""Significant decimal digits of a latency."""

_BUCKET_BITS = 11
"""Three decimal digits need 2,048 steps in a bucket."""


@dataclass
class Latencies:
    """Latencies in microseconds.

    Attributes:
        counts: number of latencies by the lower bound of their step.
    """

    counts: dict[int, int] = field(default_factory=dict)

    def record(self, seconds: float) -> None:
        """Count one latency; a negative one counts as 0."""
        us = min(max(int(seconds * 1e6), 0), LONGEST_US)
        excess = us.bit_length() - _BUCKET_BITS
        if excess > 0:
            us = us >> excess << excess
        self.counts[us] = self.counts.get(us, 0) + 1

    def add(self, other: Latencies) -> None:
        """Count the latencies of another process too."""
        for us, count in other.counts.items():
            self.counts[us] = self.counts.get(us, 0) + count

    def histogram(self) -> HdrHistogram:
        """Returns the latencies as a histogram."""
        histogram = HdrHistogram(1, LONGEST_US, DIGITS)
        for us, count in self.counts.items():
            histogram.record_value(us, count)
        return histogram


@dataclass(frozen=True)
class Distribution:
    """What a histogram says, in milliseconds. All values are None if nothing was recorded.

    Attributes:
        curve: latency by percentile, for a chart; the last point is the maximum, with the percentile 100.
    """

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p999: float | None
    max: float | None
    curve: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, latencies: Latencies) -> Distribution:
        """Returns the distribution of latencies."""
        histogram = latencies.histogram()
        count = int(histogram.get_total_count())
        if not count:
            return cls(0, None, None, None, None, None, None, None, ())

        def at(percentile: float) -> float:
            return float(histogram.get_value_at_percentile(percentile)) / 1e3

        highest = float(histogram.get_max_value()) / 1e3
        curve = tuple((percentile, at(percentile)) for percentile in percentiles(count))
        mean = float(histogram.get_mean_value()) / 1e3
        return cls(count, mean, at(50), at(90), at(95), at(99), at(99.9), highest, (*curve, (100.0, highest)))


def percentiles(count: int) -> list[float]:
    """Returns the percentiles of a chart: ten for each factor of ten in 1 - p, up to what `count` values can tell."""
    found = []
    step = 0
    while (rest := 10 ** (-step / 10)) * count >= 1:
        found.append(100 * (1 - rest))
        step += 1
    return found
