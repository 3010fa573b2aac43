"""Counts the windows that a run over the history evaluated, and those that said nothing. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.alerts.backtest.result import RuleResult
from streams.alerts.backtest.spans import HourSource
from streams.alerts.engine.baseline import hour_of, hours_for, usual
from streams.alerts.engine.condition import is_too_small, needs_baseline
from streams.alerts.engine.measure import Reading, measured
from streams.alerts.rules.rule import EACH_KEYWORD, Measure, Rule, Volume


@dataclass
class _Series:
    windows: int = 0
    too_small: int = 0
    without_baseline: int = 0


class Tally:
    """The windows of some keywords, counted for each series."""

    def __init__(self, rules: Sequence[Rule], hours: HourSource) -> None:
        """Create a tally of rules for windows of the same size.

        Args:
            rules: the rules.
            hours: where the hours are that tell what is usual.
        """
        self._rules = rules
        self._measures = {rule.measure for rule in rules if needs_baseline(rule.condition)}
        self._hours = hours
        self._series: dict[tuple[str, str], _Series] = defaultdict(_Series)
        self._known: dict[str, tuple[int, frozenset[Measure]]] = {}

    def add(self, reading: Reading) -> None:
        """Count a window, or one that does not exist because its keyword was silent."""
        for rule in self._rules:
            is_silent = reading.count + reading.unsupported == 0
            if not rule.watches(reading.keyword) or (is_silent and rule.keywords == EACH_KEYWORD):
                continue  # only rules that name a keyword wait for its posts
            series = self._series[rule.id, reading.keyword]
            series.windows += 1
            if not isinstance(rule.measure, Volume) and is_too_small(rule, measured(rule.measure, reading)):
                series.too_small += 1
            elif needs_baseline(rule.condition) and rule.measure not in self._with_baseline(reading):
                series.without_baseline += 1

    def _with_baseline(self, reading: Reading) -> frozenset[Measure]:
        """Returns the measures of which it is known what is usual in the hour of a window."""
        at, known = self._known.get(reading.keyword, (None, frozenset()))
        if at != hour_of(reading.start):
            hours = self._hours.get(reading.keyword, hours_for(reading.start, reading.size))
            known = frozenset(
                measure for measure in self._measures if usual(measure, hours, reading.start, reading.size) is not None
            )
            self._known[reading.keyword] = (hour_of(reading.start), known)
        return known

    def add_to(self, results: Mapping[str, RuleResult]) -> None:
        """Add the counts to the results of the rules."""
        for (rule, _), series in self._series.items():
            result = results[rule]
            result.windows += series.windows
            result.too_small += series.too_small
            result.without_baseline += series.without_baseline
            result.series += 1
            result.series_without_data += series.too_small == series.windows
            result.series_without_baseline += 0 < series.without_baseline == series.windows - series.too_small
