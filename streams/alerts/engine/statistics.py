"""The statistics of alerts: intervals, robust spreads, scales of equal variance, and log-odds of words. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import median
from typing import Final, NamedTuple

Z_95: Final = 1.959963984540054
"""The quantile 0.975 of the standard normal distribution."""

MAD_TO_SD: Final = 1.482602218505602
"""The standard deviation of a normal distribution, in median absolute deviations."""

MEDIAN_VARIANCE: Final = math.pi / 2
"""The variance of the median of n normal values, in variances of one value, times n (for large n)."""

_EXACT_TO = 1_000
"""The largest count whose interval is exact. Above it, the approximation is within a hundredth of a post."""

_STEPS = 60


class Interval(NamedTuple):
    """Two bounds, both inclusive."""

    low: float
    high: float


def wilson(part: int, whole: int, z: float = Z_95) -> Interval:
    """Returns the score interval of a proportion, which contains `part / whole` (Wilson, JASA 22, 1927).

    Args:
        part: the number of successes.
        whole: the number of trials; without any, the interval is 0 to 1.
        z: the quantile of the normal distribution; the default is that of 95 %.
    """
    if whole == 0:
        return Interval(0.0, 1.0)
    share, square = part / whole, z * z / whole
    centre = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / whole + square / whole / 4)
    # The bounds at 0 and at 1 are exact, but floating point may miss them.
    return Interval(min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share))


@lru_cache(maxsize=4_096)
def poisson_interval(count: int, z: float = Z_95) -> Interval:
    """Returns the interval of the mean of a Poisson distribution of which `count` was observed.

    Up to 1,000 it is exact: the bounds at which the count is at the edge of the tail (Garwood, Biometrika 28, 1936).
    Above, the chi-squared quantiles of these bounds are approximated (Wilson and Hilferty, PNAS 17, 1931).

    An exact interval takes up to 20 ms. It is kept, because incidents that begin together have similar counts.
    """
    low = _wilson_hilferty(count, -z) if count else 0.0
    high = _wilson_hilferty(count + 1, z)
    if count <= _EXACT_TO:
        tail = math.erfc(z / math.sqrt(2)) / 2
        # P(X >= count) rises with the mean, and P(X <= count) falls.
        low = _solve(lambda mean: 1 - _poisson_cdf(count - 1, mean) < tail, low) if count else 0.0
        high = _solve(lambda mean: _poisson_cdf(count, mean) > tail, high)
    return Interval(min(low, count), max(high, count))


def _wilson_hilferty(shape: int, z: float) -> float:
    """Returns a quantile of the gamma distribution with an integer shape and the scale 1."""
    return float(shape * max(1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape)), 0.0) ** 3)


def _poisson_cdf(count: int, mean: float) -> float:
    if mean <= 0:
        return 1.0
    # From the last term to the first, each from the one before it: up to `_EXACT_TO` none of them is too small.
    term = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
    terms = [term]
    for k in range(count, 0, -1):
        term *= k / mean
        terms.append(term)
    return math.fsum(terms)


def _solve(is_below: Callable[[float], bool], near: float) -> float:
    """Returns where a condition that holds below some value begins to fail, by bisection around an approximation."""
    low, high = near * 0.5, near * 2 + 1
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def spread(values: Sequence[float], groups: int = 1) -> float:
    """Returns a robust standard deviation of residuals around 0: 1.4826 times their median absolute value.

    Args:
        values: the residuals from the medians of some groups.
        groups: the number of groups. Each median that was fitted takes one degree of freedom, for which the spread is
            enlarged, as the usual standard deviation is.
    """
    freedom = len(values) - groups
    if freedom <= 0:
        return 0.0
    return MAD_TO_SD * median(abs(value) for value in values) * math.sqrt(len(values) / freedom)


def count_scale(count: float, overdispersion: float) -> float:
    """Returns a count on a scale on which its standard deviation is about 1, whatever its mean.

    The count is negative binomial, with the variance `mean + (overdispersion * mean) ** 2`. The scale is the inverse
    hyperbolic sine of Anscombe (Biometrika 35, 1948), which for a Poisson count is twice the square root. On it the
    upper tail of small counts is short, so that a z-score of 4 is at least as rare as that of a normal distribution.
    """
    root = math.sqrt(max(count + 3 / 8, 0.0))
    return 2 * root if overdispersion == 0 else 2 / overdispersion * math.asinh(overdispersion * root)


def count_at(scaled: float, overdispersion: float) -> float:
    """Returns the count at a place of the scale; the inverse of `count_scale`. Below the scale it is negative."""
    if scaled <= 0:
        return -3 / 8
    root = scaled / 2 if overdispersion == 0 else math.sinh(overdispersion * scaled / 2) / overdispersion
    return root * root - 3 / 8


def share_scale(part: float, whole: int) -> float:
    """Returns a proportion as an angle in radians, whose variance is about `1 / (4 * whole + 2)`, whatever its mean.

    The arcsine of the root (Anscombe, Biometrika 35, 1948).
    """
    return math.asin(math.sqrt(min(max((part + 3 / 8) / (whole + 3 / 4), 0.0), 1.0)))


def share_at(angle: float, whole: int) -> float:
    """Returns the proportion at an angle, the inverse of `share_scale`, limited to 0..1."""
    inside = math.sin(min(max(angle, 0.0), math.pi / 2)) ** 2
    return min(max((inside * (whole + 3 / 4) - 3 / 8) / whole, 0.0), 1.0) if whole else 0.0


def log_odds(now: int, all_now: int, before: int, all_before: int, prior: float) -> float:
    """Returns how much more frequent a word is in one corpus than in another, in standard deviations.

    The weighted log-odds ratio with an informative Dirichlet prior: equations 15, 16 and 22 of Monroe, Colaresi and
    Quinn, "Fightin' Words", Political Analysis 16 (2008). The prior of a word is its share of both corpora.

    Args:
        now: occurrences of the word in the first corpus.
        all_now: occurrences of all words in it.
        before: occurrences of the word in the second corpus.
        all_before: occurrences of all words in it.
        prior: how many occurrences of all words the prior is worth.
    """
    share = (now + before) / (all_now + all_before)
    pseudo = prior * share
    one, other = now + pseudo, before + pseudo
    rest_one, rest_other = all_now + prior - one, all_before + prior - other
    if min(rest_one, rest_other) <= 0:  # no other word
        return 0.0
    return (math.log(one / rest_one) - math.log(other / rest_other)) / math.sqrt(1 / one + 1 / other)
