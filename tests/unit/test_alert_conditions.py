"""Which values begin and which end an incident, also exactly at the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streams.alerts.engine.baseline import UsualShare, UsualVolume
from streams.alerts.engine.condition import Verdict, is_monotone, judge
from streams.alerts.engine.measure import Measured, Reading, interval, measured
from streams.alerts.rules.rule import EmotionShare, SentimentShare, Volume
from tests.alert_support import ANGER, T0, VOLUME, rule

F, B, C = Verdict.FULFILS, Verdict.BETWEEN, Verdict.CLEARS
ABOVE_30 = {"type": "threshold", "limit": 30}
BELOW_30 = {"type": "threshold", "limit": 30, "direction": "below"}


def posts(number: int) -> Measured:
    return Measured(float(number), number, number)


@pytest.mark.parametrize(
    ("condition", "verdicts"),
    [
        (ABOVE_30, {29: C, 30: C, 31: F}),
        ({**ABOVE_30, "clear": 20}, {19: C, 20: C, 21: B, 30: B, 31: F}),
        ({**ABOVE_30, "limit": 0}, {0: C, 1: F}),
        (BELOW_30, {0: F, 29: F, 30: C, 31: C}),
        ({**BELOW_30, "clear": 40}, {29: F, 30: B, 39: B, 40: C, 41: C}),
    ],
)
def test_values_at_thresholds(condition: Mapping[str, Any], verdicts: Mapping[int, Verdict]) -> None:
    one = rule(condition)
    found = {value: judge(one, posts(value), None) for value in verdicts}
    assert {value: judgement and judgement.verdict for value, judgement in found.items()} == verdicts
    assert all(judgement and judgement.limit == condition["limit"] for judgement in found.values())


@pytest.mark.parametrize(
    ("usual", "by", "clear", "direction", "verdicts", "limit"),
    [
        (20.0, 50, None, "above", {24: C, 25: B, 29: B, 30: F}, 30),
        (20.0, 50, 50, "above", {29: C, 30: F}, 30),
        (20.0, 50, 0, "above", {20: C, 21: B, 30: F}, 30),
        (20.0, 50, None, "below", {16: C, 15: B, 11: B, 10: F, 0: F}, 10),
        (20.0, 100, None, "below", {1: B, 0: F}, 0),
        (0.0, 50, None, "above", {0: C, 1: F}, 0),
        (0.0, 50, None, "below", {0: C, 1: C}, 0),
        (10.0, 10, 10, "above", {10: C, 11: F}, 11),
    ],
)
def test_values_at_changes_of_a_volume(
    usual: float, by: float, clear: float | None, direction: str, verdicts: Mapping[int, Verdict], limit: float
) -> None:
    one = rule({"type": "change", "by": by, "clear": clear, "direction": direction})
    for value, verdict in verdicts.items():
        judgement = judge(one, posts(value), UsualVolume(usual, 12, 0.1, 1.0))
        assert judgement is not None
        assert (value, judgement.verdict, judgement.limit, judgement.usual) == (value, verdict, limit, usual)


def test_changes_of_a_share_are_in_percentage_points() -> None:
    one = rule({"type": "change", "by": 10}, ANGER)
    usual = UsualShare(12.0, 12, 0.3537, 0.0004)
    for part, verdict in {16: C, 17: B, 21: B, 22: F}.items():
        judgement = judge(one, Measured(float(part), part, 100), usual)
        assert judgement is not None
        assert (part, judgement.verdict, judgement.limit) == (part, verdict, 22.0)


@pytest.mark.parametrize("direction", ["above", "below"])
@pytest.mark.parametrize("usual", [UsualVolume(100.0, 12, 0.1, 1.1), UsualShare(50.0, 12, 0.7854, 0.0004)])
def test_z_scores_fulfil_from_the_limit_that_is_told(usual: UsualVolume | UsualShare, direction: str) -> None:
    is_volume = isinstance(usual, UsualVolume)
    one = rule({"type": "zscore", "z": 3, "direction": direction}, VOLUME if is_volume else ANGER)
    verdicts = []
    for part in range(0, 401 if is_volume else 101):
        found = posts(part) if is_volume else Measured(float(part), part, 100)
        judgement = judge(one, found, usual)
        assert judgement is not None
        assert judgement.z is not None
        beyond = found.value >= judgement.limit if direction == "above" else found.value <= judgement.limit
        assert (judgement.verdict is F) == beyond
        verdicts.append(judgement.verdict)
    order = verdicts if direction == "above" else verdicts[::-1]
    assert order == sorted(order, key=[C, B, F].index)
    assert {*order} == {C, B, F}


@pytest.mark.parametrize(
    ("measure", "direction", "whole", "expected"),
    [
        (ANGER, "above", 19, None),
        (ANGER, "above", 20, F),
        (VOLUME, "above", 19, B),
        (VOLUME, "above", 20, F),
        (VOLUME, "below", 4, F),
    ],
)
def test_min_posts(measure: Mapping[str, Any], direction: str, whole: int, expected: Verdict | None) -> None:
    one = rule({"type": "threshold", "limit": 5, "direction": direction}, measure, min_posts=20)
    judgement = judge(one, Measured(100.0 if measure is ANGER else float(whole), whole, whole), None)
    assert (judgement and judgement.verdict) == expected


def test_a_small_volume_still_ends_an_incident() -> None:
    judgement = judge(rule(ABOVE_30, min_posts=50), posts(10), None)
    assert judgement is not None
    assert judgement.verdict is C


def test_nothing_is_compared_with_an_unknown_usual_value() -> None:
    assert judge(rule({"type": "zscore"}), posts(1_000), None) is None
    assert judge(rule({"type": "change", "by": 10}), posts(1_000), None) is None


def test_only_a_volume_above_is_certain_before_its_window_is_final() -> None:
    assert is_monotone(rule(ABOVE_30))
    assert not is_monotone(rule(BELOW_30))
    assert not is_monotone(rule(ABOVE_30, ANGER))


def test_values_of_readings() -> None:
    reading = Reading("coffee", 60, T0, 8, 2, {"anger": 2, "joy": 6}, {"negative": 3, "positive": 1}, final=True)
    assert measured(Volume(), reading) == (10, 10, 10)
    assert measured(EmotionShare(label="anger"), reading) == (25, 2, 8)
    assert measured(EmotionShare(label="fear"), reading) == (0, 0, 8)
    assert measured(SentimentShare(label="negative"), reading) == (75, 3, 4)
    silent = Reading.silent("coffee", 60, T0)
    assert measured(Volume(), silent) == (0, 0, 0)
    assert measured(EmotionShare(label="anger"), silent) is None
    assert measured(SentimentShare(label="negative"), silent) is None


def test_an_interval_of_a_share_is_in_percent() -> None:
    assert interval(EmotionShare(label="anger"), Measured(50.0, 50, 100)) == pytest.approx((40.38, 59.62), abs=0.01)
    assert interval(Volume(), posts(0)) == pytest.approx((0, 3.689), abs=1e-3)
