"""Intervals, spreads and scales of alerts, against published values."""

from __future__ import annotations

import math

import pytest

from streams.alerts.engine.statistics import (
    count_at,
    count_scale,
    log_odds,
    poisson_interval,
    share_at,
    share_scale,
    spread,
    wilson,
)


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
        (1, 1, 0.2065, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_intervals_are_the_published_ones(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # Garwood's limits, as tables of the mean of a Poisson distribution have them.
        (0, 0.0, 3.689),
        (1, 0.0253, 5.572),
        (5, 1.623, 11.668),
        (10, 4.795, 18.390),
        (50, 37.111, 65.919),
        (100, 81.364, 121.627),
    ],
)
def test_poisson_intervals_are_the_published_ones(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-3)


def test_exact_and_approximate_poisson_intervals_agree_where_they_meet() -> None:
    below, above = poisson_interval(1_000), poisson_interval(1_001)
    assert above.low - below.low == pytest.approx(1, abs=0.05)
    assert above.high - below.high == pytest.approx(1, abs=0.05)


def test_a_few_extreme_values_do_not_change_the_spread() -> None:
    calm = [-2.0, -1.0, -1.0, 0.0, 1.0, 1.0, 2.0, 0.5, -0.5]
    assert spread([*calm, 500.0]) < 2 * spread(calm)
    assert spread([-1.0, 1.0]) == pytest.approx(1.4826 * math.sqrt(2), abs=1e-4)
    assert spread([0.0, 0.0], groups=2) == 0.0


@pytest.mark.parametrize("overdispersion", [0.0, 0.1, 1.0])
def test_the_scale_of_counts_has_a_standard_deviation_of_1(overdispersion: float) -> None:
    for mean in (20, 400, 10_000):
        deviation = math.sqrt(mean + (overdispersion * mean) ** 2)
        step = deviation / 100
        slope = (count_scale(mean + step, overdispersion) - count_scale(mean - step, overdispersion)) / (2 * step)
        assert slope * deviation == pytest.approx(1, abs=0.02)
        assert count_at(count_scale(mean, overdispersion), overdispersion) == pytest.approx(mean)


@pytest.mark.parametrize("whole", [20, 200])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_scale_of_shares_has_its_stated_variance(share: float, whole: int) -> None:
    chances = [math.comb(whole, part) * share**part * (1 - share) ** (whole - part) for part in range(whole + 1)]
    angles = [share_scale(part, whole) for part in range(whole + 1)]
    mean = sum(chance * angle for chance, angle in zip(chances, angles, strict=True))
    variance = sum(chance * (angle - mean) ** 2 for chance, angle in zip(chances, angles, strict=True))
    assert variance * (4 * whole + 2) == pytest.approx(1, abs=0.05)
    assert share_at(share_scale(share * whole, whole), whole) == pytest.approx(share)


def test_shares_beyond_the_scale_are_at_its_ends() -> None:
    assert (share_at(-1.0, 10), share_at(9.0, 10), share_at(1.0, 0)) == (0.0, 1.0, 0.0)


def test_log_odds_are_those_of_the_formula() -> None:
    # 30 of 1,000 and 10 of 3,000, with a prior of 500 words, of which 500 * 40 / 4,000 = 5 are the word.
    expected = (math.log(35 / 1_465) - math.log(15 / 3_485)) / math.sqrt(1 / 35 + 1 / 15)
    assert log_odds(30, 1_000, 10, 3_000, prior=500) == pytest.approx(expected)
    assert log_odds(10, 3_000, 30, 1_000, prior=500) == pytest.approx(-expected)
    assert log_odds(10, 1_000, 30, 3_000, prior=500) == pytest.approx(0)
    assert log_odds(5, 5, 7, 7, prior=500) == 0.0, "there is no other word"
