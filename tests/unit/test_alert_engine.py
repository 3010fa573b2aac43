"""Whole series through the engine: rhythms, spikes, holes, repetitions, provisional windows, and changed rules."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from streams.alerts.engine.baseline import HOUR_MS, MIN_HOURS, hours_for, usual
from streams.alerts.engine.engine import Closed, Engine, Hour, Opened, Reading, RevisedRule, SeriesKey
from streams.alerts.rules.rule import MAX_COMPARED_S, Volume
from streams.records import to_ms
from tests.alert_support import ANGER, DAY, HOUR, MINUTE, T0, Evaluation, anger, brief, minutes, rule, volume

SPIKE = rule({"type": "zscore"}, window_s=3_600, min_posts=20, cooldown_s=3_600)
LOW_HOUR = 4


def day_curve(hour: int) -> int:
    """Returns 20 posts at 4 o'clock, and 400 at 16 o'clock."""
    return round(210 - 190 * math.cos((hour % 24 - LOW_HOUR) * math.pi / 12))


def week_curve(hour: int) -> int:
    """The same with a third of the posts at the weekend, and a later morning."""
    weekend = hour // 24 % 7 >= 5
    return round(day_curve(hour - 2) / 3) if weekend else day_curve(hour)


def hourly(values: dict[int, int]) -> list[Reading]:
    return [volume(value, T0 + hour * HOUR, size=3_600) for hour, value in sorted(values.items())]


def test_a_day_curve_then_a_spike_in_the_low_hour_then_values_that_hover() -> None:
    evaluation = Evaluation(SPIKE)
    spike = 14 * 24 + LOW_HOUR
    assert evaluation.run(hourly({hour: day_curve(hour) for hour in range(spike)})) == [], "the daily rise is usual"

    (opened,) = evaluation.run(hourly({spike: 500}))
    assert isinstance(opened, Opened)
    assert (opened.keyword, opened.began, opened.decided) == ("coffee", T0 + spike * HOUR, T0 + (spike + 1) * HOUR)
    assert (opened.reason.value, opened.reason.posts, opened.reason.usual) == (500.0, 500, 20.0)
    assert opened.reason.limit < 100
    assert opened.reason.z is not None
    assert opened.reason.z > 10
    assert opened.reason.hours >= MIN_HOURS
    assert opened.reason.summary == (
        "the number of posts about \u2068coffee\u2069 rose to 500 in 1h (usual at this hour: 20, interval 457 to 546)"
    )

    limit = math.ceil(opened.reason.limit)
    hovering = [limit + 20, limit - 20, limit + 30, limit - 10]
    after = evaluation.run(hourly({spike + 1 + at: value for at, value in enumerate(hovering)}))
    assert sum(isinstance(one, Opened) for one in after) <= 1
    assert len({one.incident for one in evaluation.decisions if isinstance(one, Opened)}) <= 2


@pytest.mark.parametrize(("lowest", "cooldown_s"), [(4, 0), (1, 3 * 3_600)], ids=["hysteresis", "cool-down"])
def test_values_that_hover_around_the_limit_for_three_hours_give_one_incident(lowest: int, cooldown_s: int) -> None:
    hours = [Hour(T0 - hour * HOUR, 20, {}, {}) for hour in range(1, 29 * 24)]
    evaluation = Evaluation(rule({"type": "zscore"}, cooldown_s=cooldown_s), hours=hours)
    # The usual minute has a third of a post. The rule fires from 8 posts on, and clears below 4.
    noise = random.Random(8)
    values = [8, *(noise.randint(lowest, 9) for _ in range(179))]
    found = evaluation.run(minutes(values))
    assert sum(isinstance(one, Opened) for one in found) == 1
    assert len(found) == (1 if lowest == 4 else 2)
    assert evaluation.decisions[0].reason.limit == pytest.approx(7.96, abs=0.01)


def test_a_weekend_is_as_usual_as_a_weekday() -> None:
    evaluation = Evaluation(
        SPIKE, rule({"type": "zscore", "direction": "below"}, id="fall", window_s=3_600, cooldown_s=3_600)
    )
    noise = random.Random(3)
    values = {
        hour: max(0, round(noise.gauss(week_curve(hour), math.sqrt(week_curve(hour))))) for hour in range(5 * 7 * 24)
    }
    warm_up = 3 * 7 * 24
    evaluation.run(hourly({hour: posts for hour, posts in values.items() if hour < warm_up}))
    assert evaluation.run(hourly({hour: posts for hour, posts in values.items() if hour >= warm_up})) == []
    saturday = 5 * 7 * 24 + 5 * 24 + 16
    found = evaluation.run(hourly({saturday: day_curve(16)}))
    assert [one.rule for one in found] == ["r"], "what is usual on a weekday is a spike on a Saturday"


def test_too_few_known_hours_tell_nothing() -> None:
    evaluation = Evaluation(SPIKE)
    assert evaluation.run(hourly(dict.fromkeys(range(MIN_HOURS * 24 - 1), 20))) == []
    assert evaluation.run(hourly({(MIN_HOURS - 1) * 24 + 23: 5_000})) == []
    assert evaluation.engine.not_compared == MIN_HOURS * 24
    assert [type(one) for one in evaluation.run(hourly({MIN_HOURS * 24: 5_000}))] == [Opened]


def test_holes_in_the_history_are_left_out_and_not_0() -> None:
    holes = random.Random(5)
    values = {hour: day_curve(hour) for hour in range(28 * 24 + LOW_HOUR) if holes.random() < 0.7}
    evaluation = Evaluation(SPIKE)
    assert evaluation.run(hourly(values)) == []
    (opened,) = evaluation.run(hourly({28 * 24 + LOW_HOUR: 500}))
    assert isinstance(opened, Opened)
    assert opened.reason.usual == 20.0


def test_an_incident_before_does_not_make_the_next_one_usual() -> None:
    values = {hour: day_curve(hour) for hour in range(28 * 24)}
    values |= dict.fromkeys(range(21 * 24, 21 * 24 + 12), 2_000)
    evaluation = Evaluation(SPIKE)
    evaluation.run(hourly(values))
    found = evaluation.run(hourly({28 * 24 + LOW_HOUR: 2_000}))
    assert isinstance(found[0], Opened)
    assert found[0].reason.usual == 20.0


def test_a_share_rises_and_falls_back() -> None:
    hours = [Hour(hour, 320, {"anger": 38, "joy": 282}, {}) for hour in hours_for(T0, 3_600)]
    evaluation = Evaluation(rule({"type": "change", "by": 20}, ANGER, window_s=3_600, min_posts=20), hours=hours)
    opened, closed = evaluation.run([anger(131, 320, T0, size=3_600), anger(40, 320, T0 + HOUR, size=3_600)][:1]), []
    assert isinstance(opened[0], Opened)
    assert opened[0].reason.summary == (
        "\u2068anger\u2069 rose to 40.9 % of 320 posts about \u2068coffee\u2069 in 1h "
        "(usual at this hour: 11.9 %, interval 35.7 to 46.4 %)"
    )
    evaluation.hours |= {("coffee", hour): Hour(hour, 320, {"anger": 38}, {}) for hour in hours_for(T0 + HOUR, 3_600)}
    closed = evaluation.run([anger(40, 320, T0 + HOUR, size=3_600)])
    assert [(one.because, one.value) for one in closed if isinstance(one, Closed)] == [("cleared", 12.5)]


@pytest.mark.parametrize("moment", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)])
def test_hours_are_those_of_utc_on_every_day(moment: datetime) -> None:
    """Clocks in Europe change on 2026-03-29, and 2028 is a leap year."""
    for hour in (0, 1, 2, 23):
        start = to_ms(moment) + hour * HOUR
        wanted = hours_for(start, 60)
        assert {start - 7 * DAY * week for week in range(1, 5)} <= wanted
        assert {(one - start) % DAY for one in wanted} == {0, HOUR, DAY - HOUR}
        assert len(wanted) == 4 * 3 + 12


def test_hours_of_windows_that_cross_an_hour_or_are_longer() -> None:
    assert T0 - 7 * DAY + HOUR in hours_for(T0 + 45 * MINUTE, 45 * 60), "12:45 to 13:30 is in two hours"
    day = hours_for(T0, 86_400)
    assert (min(day), max(day)) == (T0 - 28 * DAY, T0 - HOUR)
    assert hours_for(T0, 31 * 86_400) == frozenset(), "there are no such windows in the last four weeks"
    assert all(hour >= 0 for hour in hours_for(DAY, 60)), "there is nothing before 1970"


@pytest.mark.parametrize("size", [60, 3_600, 86_400, MAX_COMPARED_S])
def test_each_size_that_can_be_compared_is(size: int) -> None:
    start = T0 - T0 % (size * 1_000)
    hours = {hour: Hour(hour, 60, {}, {}) for hour in hours_for(start, size)}
    known = usual(Volume(), hours, start, size)
    assert known is not None
    assert (known.value, known.hours) == (size / 60, {60: 24, 3_600: 24, 86_400: 16, MAX_COMPARED_S: 8}[size])
    with pytest.raises(ValidationError, match="can be compared"):
        rule({"type": "zscore"}, window_s=MAX_COMPARED_S + 86_400)


def test_hours_are_wanted_once_an_hour_and_not_for_small_windows() -> None:
    evaluation = Evaluation(rule({"type": "zscore"}, min_posts=20))
    engine = evaluation.engine
    assert engine.hours_wanted(volume(19, T0)) == frozenset()
    assert engine.hours_wanted(volume(20, T0)) == hours_for(T0, 60)
    evaluation.take(volume(20, T0))
    assert engine.hours_wanted(volume(50, T0 + MINUTE)) == frozenset()
    assert engine.hours_wanted(volume(50, T0 + HOUR)) == hours_for(T0 + HOUR, 60)
    assert engine.hours_wanted(volume(50, T0 + MINUTE, keyword="tea")) == frozenset()


def test_a_provisional_volume_begins_the_incident_of_its_final_window() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}))
    evaluation.run(minutes([1, 2]))
    early = evaluation.take(volume(11, T0 + 2 * MINUTE, final=False))
    assert brief(early) == [("opened", 2, 3)]
    assert evaluation.take(volume(12, T0 + 2 * MINUTE, final=False)) == []
    assert brief(evaluation.run(minutes([None, None, 15, 3]))) == [("cleared", 2, 4)]


def test_an_incident_of_a_provisional_window_ends_without_data() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}))
    evaluation.run(minutes([1]))
    evaluation.take(volume(11, T0 + MINUTE, final=False))
    evaluation.run(minutes([None, 11]))
    (closed,) = evaluation.engine.tick(60, T0 + 2 * DAY)
    assert brief([closed]) == [("no data", 1, 2 + 24 * 60)]


def test_a_provisional_window_waits_for_the_windows_before_it() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}))
    assert evaluation.take(volume(11, T0, final=False)) == [], "nothing tells what was before"
    evaluation.run(minutes([1]))
    assert evaluation.take(volume(11, T0 + 2 * MINUTE, final=False)) == []
    evaluation.run(minutes([None, 11]))
    assert brief(evaluation.decisions) == [("opened", 1, 2)]


@pytest.mark.parametrize("measure", [ANGER, {"of": "volume"}])
def test_no_other_provisional_window_begins_anything(measure: dict[str, str]) -> None:
    direction = "above" if measure is ANGER else "below"
    evaluation = Evaluation(rule({"type": "threshold", "limit": 50, "direction": direction}, measure))
    evaluation.run([anger(10, 60, T0)])
    reading = Reading("coffee", 60, T0 + MINUTE, 40, 0, {"anger": 40}, {}, final=False)
    assert evaluation.take(reading) == []


def test_a_correction_after_its_span_changes_nothing() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}))
    evaluation.run(minutes([1, 2]))
    assert evaluation.take(volume(50, T0)) == []
    assert evaluation.take(volume(50, T0 + MINUTE)) == []
    assert evaluation.engine.ignored == 2
    evaluation.restart()
    assert evaluation.take(volume(50, T0 + MINUTE)) == []
    assert evaluation.engine.ignored == 1


def test_each_keyword_is_a_series_of_its_own() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}, keywords="each"))
    readings = [volume(20, T0, keyword="tea"), volume(5, T0, keyword="milk"), volume(90, T0, keyword="*")]
    found = evaluation.span(60, T0, [*readings, volume(11, T0, size=300), volume(30, T0)])
    assert [one.keyword for one in found] == ["tea", "coffee"]
    assert found[0].incident == "r|tea|60|2026-03-02T00:00:00.000Z"


def test_all_posts_are_watched_by_their_name() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}, keywords=["*"]))
    (opened,) = evaluation.span(60, T0, [volume(20, T0, keyword="*"), volume(20, T0)])
    assert isinstance(opened, Opened)
    assert opened.keyword == "*"
    assert opened.reason.summary.startswith("the number of posts is 20 in 1m, above the limit of 10 (")


def test_states_at_rest_are_not_kept() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 10}, keywords="each", cooldown_s=120))
    engine = evaluation.engine
    evaluation.span(60, T0, [volume(at % 10, T0, keyword=f"k{at}") for at in range(1_000)])
    assert engine.changed() == {}
    evaluation.span(60, T0 + MINUTE, [volume(11, T0 + MINUTE, keyword="k1")])
    key = SeriesKey("r", "k1")
    assert [*engine.changed()] == [key]
    evaluation.span(60, T0 + 2 * MINUTE, [volume(3, T0 + 2 * MINUTE, keyword="k1")])
    assert engine.changed()[key].not_before == T0 + 5 * MINUTE
    engine.tick(60, T0 + 4 * MINUTE)
    assert engine.changed() == {}
    engine.tick(60, T0 + 5 * MINUTE)
    assert engine.changed()[key].at_rest
    assert engine.changed() == {}


@pytest.mark.parametrize("change", ["gone", "disabled", "revised", "keywords"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_incident_ends_when_its_rule_changes(change: str, *, restarted: bool) -> None:
    one = rule({"type": "threshold", "limit": 10})
    evaluation = Evaluation(one)
    evaluation.run(minutes([11, 12]))
    after = {
        "gone": [],
        "disabled": [RevisedRule(one.model_copy(update={"enabled": False}), 2)],
        "revised": [RevisedRule(one, 2)],
        "keywords": [RevisedRule(one.model_copy(update={"keywords": ("tea",)}), 2)],
    }[change]
    engine = evaluation.engine
    if restarted:
        engine = Engine(after, evaluation.engine.changed(), engine.ticks)
    (closed,) = engine.replace(after)
    assert (closed.because, closed.revision, closed.ended) == ("the rule was changed", 1, T0 + 2 * MINUTE)
    assert engine.replace(after) == []
    again = engine.take(volume(13, T0 + 2 * MINUTE), {})
    assert brief(again) == ([("opened", 2, 3)] if change == "revised" else [])


def test_a_revised_rule_does_not_begin_the_same_incident_again() -> None:
    one = rule({"type": "threshold", "limit": 10})
    evaluation = Evaluation(one)
    evaluation.run(minutes([1]))
    (opened,) = evaluation.take(volume(11, T0 + MINUTE, final=False))
    (closed,) = evaluation.engine.replace([RevisedRule(one, 2)])
    assert (closed.incident, closed.ended) == (opened.incident, T0 + 2 * MINUTE)
    assert evaluation.take(volume(14, T0 + MINUTE)) == []
    assert brief(evaluation.take(volume(14, T0 + 2 * MINUTE))) == [("opened", 2, 3)]


def test_a_rule_for_another_size_has_no_windows_of_this_one() -> None:
    evaluation = Evaluation(rule({"type": "threshold", "limit": 1}, window_s=300))
    assert evaluation.take(volume(5, T0)) == []
    assert evaluation.engine.expected(60) == frozenset()
    assert HOUR_MS == HOUR
