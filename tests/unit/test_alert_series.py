"""What a series of windows makes of a rule: runs, hysteresis, cool-down, holes, and the end without data.

The windows are minutes from 0 on. A rule fires above 10 and clears at 5, and None is a window without posts.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streams.alerts.engine.engine import Opened
from streams.alerts.engine.series import MAX_GAP_WINDOWS, NO_DATA_HOURS, NO_DATA_WINDOWS
from tests.alert_support import ANGER, DAY, HOUR, MINUTE, T0, Evaluation, anger, brief, minutes, rule, volume

ABOVE_10 = {"type": "threshold", "limit": 10, "clear": 5}
HOLE = [None] * MAX_GAP_WINDOWS
LONG_HOLE = [None] * (MAX_GAP_WINDOWS + 1)


@pytest.mark.parametrize(
    ("for_windows", "cooldown_min", "values", "expected"),
    [
        pytest.param(1, 0, [1, 11, 12, 5], [("opened", 1, 2), ("cleared", 1, 4)], id="begins and ends"),
        pytest.param(1, 0, [11, 6, 10, 11, 6, 11, 6], [("opened", 0, 1)], id="hovers above clear"),
        pytest.param(3, 0, [11, 11, 11], [("opened", 0, 3)], id="a run"),
        pytest.param(3, 0, [11, 11, 10, 11, 11, 10], [], id="runs that are too short"),
        pytest.param(2, 0, [11, 11, 5, 6, 5, 11, 5, 5], [("opened", 0, 2), ("cleared", 0, 8)], id="a run that clears"),
        pytest.param(3, 0, [11, *HOLE, 11, *HOLE, 11], [("opened", 0, 9)], id="holes in a run"),
        pytest.param(2, 0, [11, *LONG_HOLE, 11, 11], [("opened", 5, 7)], id="a long hole breaks a run"),
        pytest.param(
            2, 0, [11, 11, 5, *LONG_HOLE, 5, 5], [("opened", 0, 2), ("cleared", 0, 9)], id="or one that clears"
        ),
        pytest.param(1, 3, [11, 5, 11, 11, 11, 4], [("opened", 0, 1), ("cleared", 0, 2)], id="a cool-down"),
        pytest.param(
            1,
            3,
            [11, 5, 11, 11, 11, 11],
            [("opened", 0, 1), ("cleared", 0, 2), ("opened", 5, 6)],
            id="high after the cool-down",
        ),
        pytest.param(
            2,
            3,
            [11, 11, 5, 5, 11, 11, 11, 11, 11],
            [("opened", 0, 2), ("cleared", 0, 4), ("opened", 7, 9)],
            id="the cool-down takes no part in a run",
        ),
    ],
)
def test_runs_hysteresis_and_cool_down(
    for_windows: int, cooldown_min: int, values: Sequence[int | None], expected: list[tuple[str, int, int]]
) -> None:
    evaluation = Evaluation(rule(ABOVE_10, for_windows=for_windows, cooldown_s=60 * cooldown_min))
    assert brief(evaluation.run(minutes(values))) == expected


def test_the_mirror_image_begins_below() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10, "clear": 15, "direction": "below"}))
    assert brief(evaluation.run(minutes([10, 9, 14, 15, 9]))) == [
        ("opened", 1, 2),
        ("cleared", 1, 4),
        ("opened", 4, 5),
    ]


def test_a_share_of_few_posts_is_no_data() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 50}, ANGER, min_posts=20))
    readings = [anger(*one, T0 + at * MINUTE) for at, one in enumerate([(1, 1), (19, 19), (0, 20), (15, 20), (0, 5)])]
    assert brief(evaluation.run(readings)) == [("opened", 3, 4)], (
        "one of one post begins nothing, and none of 5 ends nothing"
    )


def test_holes_are_never_0_percent() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10, "direction": "below"}, ANGER), silence=True)
    for at in range(10):
        assert evaluation.span(60, T0 + at * MINUTE, [anger(0, 0, T0 + at * MINUTE)] if at % 2 else []) == []
    assert brief(evaluation.run([anger(0, 5, T0 + 10 * MINUTE)])) == [("opened", 10, 11)]


def test_a_silent_window_is_a_volume_of_0_if_others_have_posts() -> None:
    below = rule({"type": "threshold", "limit": 3, "direction": "below"}, id="low")
    above = rule(ABOVE_10, id="high", keywords="each")
    evaluation = Evaluation(below, above, silence=True)
    found = []
    for at, value in enumerate([4, 20, None, None]):
        start = T0 + at * MINUTE
        found += brief(evaluation.span(60, start, [] if value is None else [volume(value, start)]))
    assert found == [("opened", 1, 2), ("opened", 2, 3), ("cleared", 1, 3)]
    assert evaluation.engine.expected(60) == {"coffee"}


def test_holes_of_all_posts_are_no_data_for_a_volume() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 3, "direction": "below"}), silence=True)
    assert evaluation.run(minutes([4, None, None, None, 4])) == []


@pytest.mark.parametrize(
    ("size", "limit_ms"), [(60, NO_DATA_HOURS * HOUR), (6 * 3_600, NO_DATA_WINDOWS * 6 * HOUR)], ids=["1m", "6h"]
)
@pytest.mark.parametrize("by", ["tick", "window"])
def test_an_incident_without_data_ends(size: int, limit_ms: int, by: str) -> None:
    length = size * 1_000
    evaluation = Evaluation(rule(ABOVE_10, window_s=size))
    assert len(evaluation.run([volume(11, T0, size=size)])) == 1
    end = T0 + length + limit_ms
    assert evaluation.engine.tick(size, end - length) == []
    if by == "tick":
        found = evaluation.engine.tick(size, end + length)
    else:
        found = [one for one in evaluation.take(volume(7, end, size=size)) if not isinstance(one, Opened)]
    assert [(one.because, one.ended, one.value) for one in found] == [("no data", end, None)]
    assert evaluation.engine.tick(size, end + DAY) == []


def test_an_incident_ends_without_data_and_another_begins_with_the_next_window() -> None:
    evaluation = Evaluation(rule(ABOVE_10))
    late = T0 + MINUTE + NO_DATA_HOURS * HOUR + 5 * MINUTE
    found = evaluation.run([volume(11, T0), volume(12, late)])
    at = (late - T0) // MINUTE
    assert brief(found) == [("opened", 0, 1), ("no data", 0, at - 5), ("opened", at, at + 1)]


def test_a_small_share_keeps_no_incident_open() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 50}, ANGER, min_posts=20))
    evaluation.run([anger(20, 20, T0)])
    small = [anger(1, 1, T0 + at * HOUR) for at in range(1, 26)]
    assert brief(evaluation.run(small), HOUR) == [("no data", 0, 24)]
