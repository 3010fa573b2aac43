"""The percentages and means in a window's record are exact to four decimals, rounded half up."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streams.windows.codec import to_window
from streams.windows.post import MICRO
from streams.windows.tumbling import WindowKey

KEY = WindowKey("tea", 60, 0)
COUNT = st.integers(1, 10**12)


def four_decimals(exact: Fraction) -> float:
    return float(Decimal(math.floor(exact * 10_000 + Fraction(1, 2))) / 10_000)


@given(COUNT, COUNT, st.integers(0, MICRO), st.integers(-MICRO, MICRO), COUNT)
def test_shares_and_means_are_exact_to_four_decimals(
    joy: int, fear: int, confidence: int, score: int, sentiments: int
) -> None:
    row = {"n": joy + fear, "l:joy": joy, "c:joy": confidence * joy // 3, "l:fear": fear, "rev": 1}
    row |= {"t:neutral": sentiments, "ts": score * sentiments // 3}
    window = to_window(KEY, {name: str(value) for name, value in row.items()})
    label, sentiment = window.labels["joy"], window.sentiment
    assert sentiment is not None
    assert label.pct == four_decimals(Fraction(100 * joy, joy + fear))
    assert label.mean_confidence == four_decimals(Fraction(row["c:joy"], MICRO * joy))
    assert sentiment.mean_sentiment == four_decimals(Fraction(row["ts"], MICRO * sentiments))
    assert str(sentiment.mean_sentiment) != "-0.0"
