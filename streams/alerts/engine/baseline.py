"""What is usual at an hour of the day and of the week: which hours tell it, and what they tell. Pure.

Most posts follow the day and the week. So a window is compared with earlier hours of the same keyword, at the same
time (UTC):

- the same hour of the week, in the last `WEEKS` weeks. Their median is the usual value.
- its neighbours, the hours before and after. They tell only how much an hour differs from the median of its kind,
  since a morning hour has fewer posts than the next one every week.
- the same hour of the last `DAYS` days, which tells the same. For a keyword that has not been followed long enough,
  their median is the usual value.

An hour is known if the system has counted it, and the keyword had posts before or in it: before its first window the
keyword may not have been followed. With fewer than `MIN_HOURS` known hours nothing is usual.

What a window may differ by has three parts: the noise of its own number of posts (Poisson or binomial); how much hours
differ beyond this noise, from their median absolute deviation, which a few extreme hours do not change; and the error
of the median itself.

A window longer than an hour is compared with the same span of earlier days and weeks, without neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple, Protocol

from streams.alerts.engine.measure import Hour, Measured, counts_of
from streams.alerts.engine.statistics import MEDIAN_VARIANCE, count_at, count_scale, share_at, share_scale, spread
from streams.alerts.rules.rule import Measure, Volume

WEEKS: Final = 4
DAYS: Final = 14
NEIGHBOURS: Final = 1
"""How many hours before and after the same hour of the week are its neighbours."""

MIN_HOURS: Final = 6
"""The fewest known hours that tell what is usual."""

MIN_AT_HOUR: Final = 2
"""The fewest weeks in which the same hour of the week is known, so that their median is the usual value."""

MIN_HOUR_POSTS: Final = 20
"""The fewest posts of an hour whose shares count."""

MIN_OVERDISPERSION: Final = 0.1
"""The least standard deviation between hours, as a share of the usual volume. No stream of posts is pure noise."""

MIN_ANGLE_SPREAD: Final = 0.02
"""The least standard deviation between the shares of hours, in radians of `share_scale`: 1.2 percentage points at 10 %,
and 2 at 50 %."""

HOUR_S: Final = 3_600
HOUR_MS: Final = 1_000 * HOUR_S
DAY_MS: Final = 24 * HOUR_MS

KEPT_MS: Final = 29 * DAY_MS
"""How far back hours are kept: four weeks, and the hours around the same hour of the week."""
_WEEK_MS: Final = 7 * DAY_MS


class Usual(Protocol):
    """What is usual for a window."""

    @property
    def value(self) -> float:
        """The usual value, in posts of a window or in percent."""

    @property
    def hours(self) -> int:
        """The number of hours that tell it."""

    def z(self, measured: Measured) -> float:
        """Returns the distance of a value from the usual one, in standard deviations."""

    def at(self, z: float, measured: Measured) -> float:
        """Returns the value at a distance, for a window with as many posts."""


class UsualVolume(NamedTuple):
    """The usual number of posts of a window; see `Usual`.

    Attributes:
        value: posts of a window.
        hours: the number of hours that tell it.
        overdispersion: standard deviation between hours beyond the Poisson noise, as a share of the value.
        inflation: by how much the error of the median enlarges the standard deviation.
    """

    value: float
    hours: int
    overdispersion: float
    inflation: float

    def z(self, measured: Measured) -> float:
        """Returns the distance of a volume from the usual one, in standard deviations."""
        scaled = count_scale(measured.part, self.overdispersion) - count_scale(self.value, self.overdispersion)
        return scaled / self.inflation

    def at(self, z: float, measured: Measured) -> float:
        """Returns the volume at a distance."""
        scaled = count_scale(self.value, self.overdispersion) + z * self.inflation
        return count_at(scaled, self.overdispersion)


class UsualShare(NamedTuple):
    """The usual share of a window; see `Usual`.

    Attributes:
        value: in percent.
        hours: the number of hours that tell it.
        angle: the usual share in radians of `share_scale`.
        variance: of the angle between hours, and of the error of the median, in square radians.
    """

    value: float
    hours: int
    angle: float
    variance: float

    def z(self, measured: Measured) -> float:
        """Returns the distance of a share from the usual one, in standard deviations."""
        return (share_scale(measured.part, measured.whole) - self.angle) / self._deviation(measured.whole)

    def at(self, z: float, measured: Measured) -> float:
        """Returns the share at a distance, in percent, for a window with as many posts."""
        return 100 * share_at(self.angle + z * self._deviation(measured.whole), measured.whole)

    def _deviation(self, whole: int) -> float:
        return math.sqrt(1 / (4 * whole + 2) + self.variance)


def hour_of(start: int) -> int:
    """Returns the start of the hour in which a time lies, both in ms since 1970."""
    return start - start % HOUR_MS


def hours_for(start: int, size: int) -> frozenset[int]:
    """Returns the starts of all hours that tell what is usual for a window, all in ms since 1970.

    Args:
        start: the start of the window in ms since 1970.
        size: its size in seconds.
    """
    spans = [span for group in _groups(start, size) for span in group]
    return frozenset(hour for span in spans for hour in span if hour >= 0)


def usual(measure: Measure, hours: Mapping[int, Hour], start: int, size: int) -> UsualVolume | UsualShare | None:
    """Returns what is usual for a window; None if too few hours are known.

    Args:
        measure: what is measured.
        hours: by start, the known ones of `hours_for`.
        start: the start of the window in ms since 1970.
        size: its size in seconds.
    """
    spans = _groups(start, size)
    same_hour, *neighbours, days = spans
    # The days contain the same hour of the last weeks.
    others = [span for span in days if span not in same_hour]
    groups = [_known(measure, hours, group) for group in (same_hour, *neighbours, others)]
    if len(groups[0]) < MIN_AT_HOUR:
        groups = [_known(measure, hours, days)]
    known = sum(map(len, groups))
    if known < MIN_HOURS:
        return None
    if isinstance(measure, Volume):
        return _usual_volume(groups, known, size)
    return _usual_share(groups, known)


def _usual_volume(groups: Sequence[Sequence[Measured]], known: int, size: int) -> UsualVolume:
    rates = [[one.value for one in group] for group in groups if group]
    rate = median(rates[0])
    ratios, noise, fitted = [], [], 0
    for group in rates:
        middle = median(group)
        if middle > 0:
            fitted += 1
            ratios += [value / middle - 1 for value in group]
            noise += [1 / middle] * len(group)
    beyond = spread(ratios, fitted) ** 2 - (sum(noise) / len(noise) if noise else 0.0)
    between = max(beyond, MIN_OVERDISPERSION**2)
    value = rate * size * 1_000 / HOUR_MS
    inflation = 1.0
    if value > 0:
        error = MEDIAN_VARIANCE * (between + 1 / rate) / len(rates[0])
        inflation = math.sqrt(1 + value * error / (1 + value * between))
    return UsualVolume(value, known, math.sqrt(between), inflation)


def _usual_share(groups: Sequence[Sequence[Measured]], known: int) -> UsualShare:
    angles = [[share_scale(one.part, one.whole) for one in group] for group in groups if group]
    noise = [1 / (4 * one.whole + 2) for group in groups for one in group]
    residuals = [angle - median(group) for group in angles for angle in group]
    beyond = spread(residuals, len(angles)) ** 2 - sum(noise) / len(noise)
    between = max(beyond, MIN_ANGLE_SPREAD**2)
    error = MEDIAN_VARIANCE * (between + sum(noise) / len(noise)) / len(angles[0])
    return UsualShare(median(one.value for one in groups[0]), known, median(angles[0]), between + error)


def _groups(start: int, size: int) -> list[list[range]]:
    """Returns spans of hours that are compared with a window: same hour of the week, each neighbour, same hour of days.

    A span has the starts of its hours. Spans that overlap the window are left out.
    """
    length = size * 1_000
    begin, end = hour_of(start), start + length + -(start + length) % HOUR_MS

    def spans(step: int, most: int, offset: int = 0) -> list[range]:
        shifts = [step * back - offset * HOUR_MS for back in range(1, most + 1) if step * back >= length]
        return [range(begin - shift, end - shift, HOUR_MS) for shift in shifts]

    offsets = [0] if length > HOUR_MS else [0, *(o for n in range(1, NEIGHBOURS + 1) for o in (-n, n))]
    return [*(spans(_WEEK_MS, WEEKS, offset) for offset in offsets), spans(DAY_MS, DAYS)]


def _known(measure: Measure, hours: Mapping[int, Hour], spans: Sequence[range]) -> list[Measured]:
    """Returns the hourly volume, or the share, of each span that is known.

    A volume is the mean of the known hours of a span. At least half of them must be known.
    """
    found = []
    for span in spans:
        there = [counts_of(measure, hours[hour]) for hour in span if hour in hours]
        if not there or 2 * len(there) < len(span):
            continue
        part, whole = (sum(counts) for counts in zip(*there, strict=True))
        if isinstance(measure, Volume):
            found.append(Measured(whole / len(there), part, whole))
        elif whole >= MIN_HOUR_POSTS:
            found.append(Measured(100 * part / whole, part, whole))
    return found
