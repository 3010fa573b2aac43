"""Hands windows to the alert engine as the evaluator does: span by span, with the hours that it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from streams.alerts.engine.engine import Closed, Engine, Hour, Opened, Reading, RevisedRule, SeriesKey, SeriesState
from streams.alerts.rules.rule import Rule
from streams.records import to_ms

HOUR = 3_600_000
MINUTE = 60_000
DAY = 24 * HOUR
T0 = to_ms(datetime(2026, 3, 2, tzinfo=UTC))
"""A Monday."""

VOLUME = {"of": "volume"}
ANGER = {"of": "emotion", "label": "anger"}


def rule(
    condition: Mapping[str, Any], measure: Mapping[str, Any] = VOLUME, *, window_s: int = 60, **fields: object
) -> Rule:
    """Returns a rule for coffee, without a cool-down."""
    given = {"id": "r", "name": "A rule", "keywords": ["coffee"], "cooldown_s": 0, "min_posts": 0, **fields}
    return Rule.model_validate({**given, "window_s": window_s, "measure": dict(measure), "condition": dict(condition)})


def volume(posts: int, start: int, *, size: int = 60, keyword: str = "coffee", final: bool = True) -> Reading:
    return Reading(keyword, size, start, posts, 0, {"joy": posts} if posts else {}, {}, final)


def anger(part: int, whole: int, start: int, *, size: int = 60, keyword: str = "coffee") -> Reading:
    return Reading(keyword, size, start, whole, 0, {"anger": part, "joy": whole - part}, {}, final=True)


def as_hour(reading: Reading) -> Hour:
    return Hour(reading.start, reading.count, reading.labels, reading.sentiments, reading.unsupported)


class Evaluation:
    """An engine, and the hours that are known. Hourly windows become hours when they are final."""

    def __init__(self, *rules: Rule, hours: Iterable[Hour] = (), silence: bool = False) -> None:
        self.rules = [RevisedRule(one, 1) for one in rules]
        self.engine = Engine(self.rules)
        assert self.engine.replace(self.rules) == []
        self.hours = {("coffee", hour.start): hour for hour in hours}
        self.silence = silence
        self.states: dict[SeriesKey, SeriesState] = {}
        self.decisions: list[Opened | Closed] = []

    def take(self, reading: Reading) -> list[Opened | Closed]:
        wanted = self.engine.hours_wanted(reading)
        hours = {hour: self.hours[reading.keyword, hour] for hour in wanted if (reading.keyword, hour) in self.hours}
        found = self.engine.take(reading, hours)
        if reading.final and reading.size * 1_000 == HOUR:
            self.hours[reading.keyword, reading.start] = as_hour(reading)
        self.decisions += found
        return found

    def span(self, size: int, start: int, readings: Iterable[Reading]) -> list[Opened | Closed]:
        """Take all windows of a span. With `silence`, keywords that have none are silent."""
        taken = list(readings)
        found = [decision for reading in taken for decision in self.take(reading)]
        if self.silence:
            for keyword in sorted(self.engine.expected(size) - {reading.keyword for reading in taken}):
                found += self.take(Reading.silent(keyword, size, start))
        closed = self.engine.tick(size, start + size * 1_000)
        self.decisions += closed
        return [*found, *closed]

    def run(self, readings: Iterable[Reading]) -> list[Opened | Closed]:
        """Take windows of one size and keyword, in the order of their starts; holes have no tick."""
        return [decision for one in readings for decision in self.span(one.size, one.start, [one])]

    def store(self) -> None:
        """Store the changed states as JSON, as the evaluator does."""
        for key, state in self.engine.changed().items():
            if state.at_rest:
                assert self.states.pop(key, None) is not None, "a state that was never stored is deleted"
            else:
                self.states[key] = state

    def restart(self) -> None:
        """Go on with an engine that knows only what was stored."""
        self.store()
        stored = {key: SeriesState.from_json(state.to_json()) for key, state in self.states.items()}
        self.engine = Engine(self.rules, stored, self.engine.ticks)
        assert self.engine.replace(self.rules) == []


def brief(decisions: Iterable[Opened | Closed], unit: int = MINUTE) -> list[tuple[str, int, int]]:
    """Returns decisions as (`opened`, began, decided) and (`closed` or why, began, ended), in units since T0."""
    return [
        ("opened", (one.began - T0) // unit, (one.decided - T0) // unit)
        if isinstance(one, Opened)
        else (one.because, (one.began - T0) // unit, (one.ended - T0) // unit)
        for one in decisions
    ]


def minutes(values: Iterable[int | None], make: Callable[[int, int], Reading] = volume) -> list[Reading]:
    """Returns the readings of consecutive minutes from T0 on; None is a hole."""
    return [make(value, T0 + at * MINUTE) for at, value in enumerate(values) if value is not None]
