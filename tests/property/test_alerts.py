"""The incidents are a pure function of the final windows and the rules, whatever else the topic delivers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.alerts.engine.baseline import HOUR_MS, UsualShare, UsualVolume, hours_for, usual
from streams.alerts.engine.engine import Closed, Hour, Opened, Reading
from streams.alerts.engine.measure import Measured
from streams.alerts.engine.statistics import (
    count_at,
    count_scale,
    log_odds,
    poisson_interval,
    share_at,
    share_scale,
    wilson,
)
from streams.alerts.explanation.evidence import Evidence
from streams.alerts.explanation.words import words_of
from streams.alerts.rules.rule import EmotionShare, Rule, Volume
from tests.alert_support import ANGER, MINUTE, T0, VOLUME, Evaluation, rule

HISTORY = [Hour(T0 - hour * HOUR_MS, 600, {"anger": 60, "joy": 540}, {}) for hour in range(1, 29 * 24)]


class Span(NamedTuple):
    """A minute: the posts of coffee, and how many of them are angry; 0 posts for no window."""

    posts: int
    angry: int


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    measure = draw(st.sampled_from([VOLUME, ANGER]))
    direction = draw(st.sampled_from(["above", "below"]))
    limit = draw(st.integers(2, 14)) if measure is VOLUME else draw(st.integers(10, 90))
    away = draw(st.integers(0, 5))
    clear = limit + away if direction == "below" else max(0, limit - away)
    condition = draw(
        st.sampled_from(
            [
                {"type": "threshold", "limit": limit, "clear": clear, "direction": direction},
                {"type": "change", "by": 20, "direction": direction},
                {"type": "zscore", "z": 1.5, "direction": direction},
            ]
        )
    )
    return rule(
        condition,
        measure,
        min_posts=draw(st.integers(0, 6)),
        for_windows=draw(st.integers(1, 3)),
        cooldown_s=draw(st.sampled_from([0, 60, 300])),
        keywords="each" if measure is ANGER and draw(st.booleans()) else ["coffee"],
    )


spans = st.lists(
    st.integers(0, 20).flatmap(lambda posts: st.builds(Span, st.just(posts), st.integers(0, posts))), max_size=40
)


def reading(at: int, span: Span, *, final: bool = True) -> Reading:
    labels = {"anger": span.angry, "joy": span.posts - span.angry}
    return Reading("coffee", 60, T0 + at * MINUTE, span.posts, 0, labels, {}, final)


def evaluate(one: Rule, given_spans: Sequence[Span]) -> Evaluation:
    """Hand in the final windows only."""
    evaluation = Evaluation(one, hours=HISTORY, silence=True)
    for at, span in enumerate(given_spans):
        evaluation.span(60, T0 + at * MINUTE, [reading(at, span)] if span.posts else [])
    return evaluation


def decided(evaluation: Evaluation) -> list[tuple[object, ...]]:
    """Returns the decisions without their reasons: a provisional window knows fewer posts than the final one."""
    return [one[:-1] for one in evaluation.decisions]


@given(rules(), spans, st.data())
def test_repetitions_provisional_windows_and_restarts_change_nothing(
    one: Rule, given_spans: list[Span], data: st.DataObject
) -> None:
    evaluation = Evaluation(one, hours=HISTORY, silence=True)
    for at, span in enumerate(given_spans):
        # Provisional windows of this span, and of the next one before this one is final.
        for ahead in data.draw(st.lists(st.sampled_from([at, at, min(at + 1, len(given_spans) - 1)]), max_size=3)):
            posts, angry = given_spans[ahead]
            if posts:
                part = data.draw(st.integers(1, posts))
                evaluation.take(reading(ahead, Span(part, min(part, angry)), final=False))
        # Finals of spans before, with any content, such as late corrections.
        for before in data.draw(st.lists(st.integers(0, max(at - 1, 0)), max_size=2)) if at else []:
            evaluation.take(reading(before, data.draw(st.sampled_from(given_spans))))
        if data.draw(st.integers(0, 3)) == 0:
            evaluation.restart()
        if span.posts and data.draw(st.booleans()):
            evaluation.take(reading(at, span))
            evaluation.restart()
        evaluation.span(60, T0 + at * MINUTE, [reading(at, span)] * data.draw(st.integers(1, 2)) if span.posts else [])
        evaluation.store()
    assert decided(evaluation) == decided(evaluate(one, given_spans))


@given(rules(), spans)
def test_no_incident_begins_twice_and_each_end_has_its_beginning(one: Rule, given_spans: list[Span]) -> None:
    evaluation = evaluate(one, given_spans)
    opened: dict[str, Opened] = {}
    ended: dict[str, Closed] = {}
    latest_end = None
    for decision in evaluation.decisions:
        if isinstance(decision, Opened):
            assert decision.incident not in opened
            assert len(opened) == len(ended), "a series has one open incident at most"
            assert latest_end is None or decision.began >= latest_end + 1_000 * one.cooldown_s
            assert decision.decided - decision.began >= 60_000 * one.for_windows
            opened[decision.incident] = decision
        else:
            assert decision.incident in opened
            assert decision.incident not in ended
            assert decision.ended >= opened[decision.incident].decided
            ended[decision.incident] = decision
            latest_end = decision.ended


@given(rules(), spans)
def test_a_reason_holds_its_value_and_what_it_passed(one: Rule, given_spans: list[Span]) -> None:
    for decision in evaluate(one, given_spans).decisions:
        if isinstance(decision, Opened):
            reason = decision.reason
            assert reason.low <= reason.value <= reason.high
            assert reason.value >= reason.limit if one.condition.direction == "above" else reason.value <= reason.limit
            assert (reason.usual is None) == (one.condition.type == "threshold")
            assert reason.posts >= one.min_posts or (one.measure.of == "volume" and one.condition.direction == "below")
            assert "\n" not in reason.summary


@given(st.lists(st.integers(20, 40), max_size=60), st.sampled_from([1, 2]))
def test_values_between_clear_and_limit_and_above_give_one_incident(values: list[int], for_windows: int) -> None:
    one = rule({"type": "threshold", "limit": 30, "clear": 19}, for_windows=for_windows)
    evaluation = Evaluation(one)
    evaluation.run([reading(at, Span(posts, 0)) for at, posts in enumerate(values)])
    assert len(evaluation.decisions) <= 1


@given(spans)
def test_windows_without_posts_are_not_0_percent(given_spans: list[Span]) -> None:
    one = rule({"type": "threshold", "limit": 100, "direction": "below"}, ANGER, for_windows=2)
    all_angry = [Span(span.posts, span.posts) for span in given_spans]
    assert evaluate(one, all_angry).decisions == []


@given(st.integers(0, 200) | st.integers(900, 1_100), st.integers(0, 5_000))
@settings(max_examples=50)
def test_intervals_contain_their_value_and_shrink(part: int, more: int) -> None:
    whole = part + more
    share = wilson(part, whole)
    assert 0 <= share.low <= (part / whole if whole else 0.5) <= share.high <= 1
    count = poisson_interval(part)
    assert 0 <= count.low <= part < count.high
    if whole:
        larger = wilson(4 * part, 4 * whole)
        assert larger.high - larger.low < share.high - share.low


@given(st.floats(0, 1e6), st.sampled_from([0.0, 0.05, 0.5, 2.0]))
def test_the_scale_of_counts_is_reversible(count: float, overdispersion: float) -> None:
    assert count_at(count_scale(count, overdispersion), overdispersion) == pytest.approx(count, rel=1e-6, abs=1e-6)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_scale_of_shares_is_reversible(whole: int, share: float) -> None:
    assert share_at(share_scale(share * whole, whole), whole) == pytest.approx(share, rel=1e-6, abs=1e-6)


@given(st.dictionaries(st.sampled_from(sorted(hours_for(T0, 60))), st.integers(0, 10_000)), st.integers(0, 2_000))
def test_what_is_usual_lies_within_the_hours_that_are_known(posts: dict[int, int], value: int) -> None:
    known = usual(Volume(), {start: Hour(start, count, {}, {}) for start, count in posts.items()}, T0, 3_600)
    if known is None:
        return
    assert isinstance(known, UsualVolume)
    assert min(posts.values()) <= known.value <= max(posts.values())
    assert known.hours <= len(posts)
    found = Measured(float(value), value, value)
    assert (known.z(found) > 0) == (value > known.value)
    assert known.at(0, found) == pytest.approx(known.value, abs=1e-6)


@given(
    st.dictionaries(st.sampled_from(sorted(hours_for(T0, 60))), st.tuples(st.integers(0, 500), st.integers(0, 500))),
    st.integers(1, 500),
)
def test_a_usual_share_lies_within_0_and_100(counts: dict[int, tuple[int, int]], whole: int) -> None:
    hours = {start: Hour(start, a + b, {"anger": a}, {}) for start, (a, b) in counts.items()}
    known = usual(EmotionShare(label="anger"), hours, T0, 60)
    if known is None:
        return
    assert isinstance(known, UsualShare)
    assert 0 <= known.value <= 100
    values = [known.at(z, Measured(0.0, 0, whole)) for z in (-100, -4, 0, 4, 100)]
    assert values == sorted(values)
    assert all(0 <= value <= 100 for value in values)


@given(st.integers(0, 50), st.integers(51, 500), st.integers(0, 50), st.integers(51, 500))
def test_log_odds_are_antisymmetric(now: int, all_now: int, before: int, all_before: int) -> None:
    if now + before:
        assert log_odds(now, all_now, before, all_before, 500) == pytest.approx(
            -log_odds(before, all_before, now, all_now, 500)
        )


@given(st.text(max_size=300), st.text(max_size=20))
def test_words_of_any_text_are_stable(text: str, other: str) -> None:
    words = words_of(text)
    assert words_of(f"{text} {text}") >= words - words_of("", ()), "a repetition adds no other word"
    assert not words_of(text, words)
    assert all(word and not word.isspace() for word in words)
    Evidence(other, Volume())
