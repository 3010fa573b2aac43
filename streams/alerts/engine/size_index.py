"""The rules by window size and keyword, and what the engine knows of their series. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streams.alerts.engine.baseline import UsualShare, UsualVolume, hour_of
from streams.alerts.engine.condition import is_monotone, needs_baseline
from streams.alerts.engine.measure import Reading
from streams.alerts.engine.series import Policy, SeriesKey, SeriesState
from streams.alerts.rules.rule import EACH_KEYWORD, Rule, Volume
from streams.records import ALL_KEYWORDS

Known = UsualVolume | UsualShare | None
"""What is usual; None if too few hours are known."""


class Watch(NamedTuple):
    """A rule with what is derived from it.

    Attributes:
        rule: the rule.
        policy: how it makes incidents.
        measure: names the measure; rules of the same measure share what is usual.
        is_volume: whether it measures a volume.
        is_monotone: whether a provisional window can fulfil it for certain.
        needs_baseline: whether it compares with what is usual.
    """

    rule: Rule
    policy: Policy
    measure: tuple[str, str]
    is_volume: bool
    is_monotone: bool
    needs_baseline: bool

    @classmethod
    def of(cls, rule: Rule, revision: int) -> Watch:
        """Returns a rule with what is derived from it."""
        measure = rule.measure
        return cls(
            rule,
            Policy(revision, rule.window_s, rule.for_windows, rule.cooldown_s * 1_000),
            (measure.of, "" if isinstance(measure, Volume) else measure.label),
            isinstance(measure, Volume),
            is_monotone(rule),
            needs_baseline(rule.condition),
        )

    def continues(self, state: SeriesState) -> bool:
        """Returns whether a state is one of this rule, and of this revision of it."""
        return self.policy.revision == state.revision and self.policy.size == state.size


class SizeIndex:
    """The rules for the windows of one size, and what is known of their series.

    Attributes:
        states: the states that are not at rest.
        tick: the end of the last span that is decided, in ms since 1970; None if there is none.
    """

    def __init__(self) -> None:
        """Create an index without rules."""
        self.states: dict[SeriesKey, SeriesState] = {}
        self.tick: int | None = None
        self._named: dict[str, list[Watch]] = {}
        self._each: list[Watch] = []
        self._seen: dict[str, int] = {}
        self._usual: dict[tuple[str, tuple[str, str]], tuple[int, Known]] = {}

    def clear(self) -> None:
        """Remove all rules, and what is usual for their keywords."""
        self._named, self._each, self._usual = {}, [], {}

    def add(self, watch: Watch) -> None:
        """Add a rule."""
        if watch.rule.keywords == EACH_KEYWORD:
            self._each.append(watch)
            return
        for keyword in watch.rule.keywords:
            self._named.setdefault(keyword, []).append(watch)

    def watching(self, keyword: str) -> Sequence[Watch]:
        """Returns the rules that watch a keyword, those that name it first."""
        named = self._named.get(keyword, ())
        if keyword == ALL_KEYWORDS or not self._each:
            return named
        return [*named, *self._each] if named else self._each

    def named_for_volume(self) -> set[str]:
        """Returns the keywords that rules for volumes name."""
        return {keyword for keyword, watches in self._named.items() if any(watch.is_volume for watch in watches)}

    def is_decided(self, reading: Reading) -> bool:
        """Returns whether a window comes too late to change anything."""
        if self.tick is not None and reading.start < self.tick:
            return True
        return self._seen.get(reading.keyword, -1) >= reading.start

    def is_next(self, reading: Reading) -> bool:
        """Returns whether all windows of the keyword before this one are decided."""
        decided = -1 if self.tick is None else self.tick
        seen = self._seen.get(reading.keyword)
        return reading.start <= (decided if seen is None else max(decided, seen + reading.size * 1_000))

    def decide(self, reading: Reading) -> None:
        """Note that a final window was folded."""
        self._seen[reading.keyword] = reading.start

    def pass_to(self, end_ms: int) -> None:
        """Note that all windows up to an end are decided, and forget what no other window needs."""
        self.tick = end_ms
        self._seen = {keyword: start for keyword, start in self._seen.items() if start >= end_ms}
        self._usual = {key: known for key, known in self._usual.items() if known[0] >= hour_of(end_ms)}

    def usual_of(self, watch: Watch, reading: Reading) -> tuple[bool, Known]:
        """Returns whether it is known what is usual for a reading, or that too few hours are known; and what it is."""
        hour, known = self._usual.get((reading.keyword, watch.measure), (-1, None))
        return hour == _hour(reading), known

    def set_usual(self, watch: Watch, reading: Reading, known: Known) -> None:
        """Keep what is usual for the readings of an hour."""
        self._usual[reading.keyword, watch.measure] = (_hour(reading), known)


def _hour(reading: Reading) -> int:
    """Returns for what the usual value of a reading is the same: the hour, or the window if it crosses hours."""
    hour = hour_of(reading.start)
    return hour if hour_of(reading.end - 1) == hour else reading.start
