"""The engine: decides from windows and rules which incidents begin and end. Pure, and deterministic in event time.

The decisions are a pure function of the rules and the final windows. So the caller hands in windows like this:

1. The final windows of a series come in the order of their starts. A window that starts before one that was folded, or
   at the same time, changes nothing. So the caller merges the partitions of the windows topic by start.
2. If there is a window of all posts in a span, the keywords that `expected` returns and that have none were silent: the
   caller hands `Reading.silent` in for them. Then it calls `tick` with the end of the span. From then on, windows of
   that span and before change nothing: late corrections, repetitions after a restart.
3. The caller stores `changed` and `ticks` in one transaction with the decisions, best just after a `tick`.

Provisional windows may come at any time. One of them can begin an incident only where its final window must too: a
volume above a threshold, if all windows of the series before it are decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from streams.alerts.engine.baseline import hours_for, usual
from streams.alerts.engine.condition import Judgement, Verdict, is_too_small, judge
from streams.alerts.engine.measure import Hour, Measured, Reading, interval, measured
from streams.alerts.engine.series import (
    CLEARED,
    Closed,
    End,
    Opened,
    SeriesKey,
    SeriesState,
    end_by_rule,
    fold,
    foresee,
    incident_key,
    is_worth_storing,
    pass_to,
)
from streams.alerts.engine.size_index import Known, SizeIndex, Watch
from streams.alerts.engine.summary import opening
from streams.alerts.rules.rule import Rule
from streams.records import ALL_KEYWORDS, AlertReason

__all__ = ["Closed", "Engine", "Hour", "Opened", "Reading", "RevisedRule", "SeriesKey", "SeriesState"]


class RevisedRule(NamedTuple):
    """A rule and its revision."""

    rule: Rule
    revision: int


class _Concern(NamedTuple):
    """A rule that a reading may change.

    Attributes:
        watch: the rule.
        state: the state of its series; None if it is at rest.
        found: the value of the reading; None for no data.
        compares: whether it must be known what is usual.
    """

    watch: Watch
    state: SeriesState | None
    found: Measured | None
    compares: bool


class Engine:
    """Decides which incidents begin and end. One task uses it at a time.

    Attributes:
        ignored: how many final windows changed nothing, because they came after their span was decided.
        not_compared: how often a rule had no data, because too few hours were known to tell what is usual.
    """

    def __init__(
        self,
        rules: Sequence[RevisedRule],
        states: Mapping[SeriesKey, SeriesState] | None = None,
        ticks: Mapping[int, int] | None = None,
    ) -> None:
        """Create an engine. Call `replace` with the same rules before the first window.

        Args:
            rules: the rules; those that are not enabled are left out.
            states: the states that were stored; others are at rest.
            ticks: `ticks` as it was stored with the states.
        """
        self.ignored = 0
        self.not_compared = 0
        self._sizes: dict[int, SizeIndex] = {}
        self._watches: dict[str, Watch] = {}
        self._changed: dict[SeriesKey, SeriesState] = {}
        self._stored = {*(states or {})}
        for size, tick in (ticks or {}).items():
            self._of(size).tick = tick
        for key, state in (states or {}).items():
            self._of(state.size).states[key] = state
        self._index(rules)

    def replace(self, rules: Sequence[RevisedRule]) -> list[Closed]:
        """Use other rules from now on.

        Returns:
            The ends of the open incidents whose rule is gone, disabled or has another revision. After the
            construction of the engine, those of the states that it was given.
        """
        self._index(rules)
        closed: list[Closed] = []
        for of_size in list(self._sizes.values()):
            for key, state in list(of_size.states.items()):
                if self._watch(key, state) is not None:
                    continue
                self._put(of_size, key, SeriesState(revision=state.revision, size=state.size))
                if (end := end_by_rule(state)) is None:
                    continue
                closed.append(_closed(key, state, end, None))
                watch = self._watches.get(key.rule)
                if watch is not None:
                    # Another incident that begins with the same window would have the same key.
                    fresh = msgspec.structs.replace(watch.policy.new(), not_before=end.ended)
                    self._put(self._of(watch.policy.size), key, fresh)
        return closed

    @property
    def ticks(self) -> dict[int, int]:
        """By size in seconds: the end of the last span that is decided, in ms since 1970."""
        return {size: one.tick for size, one in self._sizes.items() if one.tick is not None}

    def hours_wanted(self, reading: Reading) -> frozenset[int]:
        """Returns the starts, in ms since 1970, of the hours of the reading's keyword that `take` needs.

        It is empty for most readings. The engine keeps what it computes from these hours until the next hour, so that
        the next window of the hour needs none.
        """
        of_size = self._sizes.get(reading.size)
        if of_size is not None and not of_size.is_decided(reading):
            for watch, _, _, compares in self._concerns(of_size, reading):
                if compares and not of_size.usual_of(watch, reading)[0]:
                    return hours_for(reading.start, reading.size)
        return frozenset()

    def take(self, reading: Reading, hours: Mapping[int, Hour]) -> list[Opened | Closed]:
        """Fold a window into all series of its keyword.

        Args:
            reading: the window.
            hours: by start, those of `hours_wanted` that are known.

        Returns:
            The decisions, in the order of the rules: those that name the keyword first.
        """
        of_size = self._sizes.get(reading.size)
        if of_size is None:
            return []
        if of_size.is_decided(reading):
            self.ignored += reading.final
            return []
        decisions: list[Opened | Closed] = []
        for concern in self._concerns(of_size, reading):
            decisions += self._decide(of_size, reading, concern, hours)
        if reading.final:
            of_size.decide(reading)
        return decisions

    def tick(self, size: int, end_ms: int) -> list[Closed]:
        """Decide all spans of a size up to an end, also for series that have no window.

        Args:
            size: the size in seconds.
            end_ms: the end of the span whose windows were all taken, in ms since 1970.

        Returns:
            The ends of incidents that have had no data for too long.
        """
        of_size = self._of(size)
        if of_size.tick is not None and end_ms <= of_size.tick:
            return []
        of_size.pass_to(end_ms)
        closed: list[Closed] = []
        for key, state in list(of_size.states.items()):
            watch = self._watch(key, state)
            if watch is None:
                continue
            step = pass_to(watch.policy, state, end_ms)
            if step.end is not None:
                closed.append(_closed(key, state, step.end, None))
            self._put(of_size, key, step.state, state)
        return closed

    def expected(self, size: int) -> frozenset[str]:
        """Returns the keywords whose silence matters: of rules for volumes, named or with something pending."""
        of_size = self._sizes.get(size)
        if of_size is None:
            return frozenset()
        pending = {
            key.keyword
            for key, state in of_size.states.items()
            if (watch := self._watch(key, state)) is not None and watch.is_volume
        }
        return frozenset((of_size.named_for_volume() | pending) - {ALL_KEYWORDS})

    def changed(self) -> dict[SeriesKey, SeriesState]:
        """Returns the states that changed since the last call. Those `at_rest` are to be deleted."""
        # A state that began and ended between two calls was never stored.
        found = {key: state for key, state in self._changed.items() if not state.at_rest or key in self._stored}
        self._changed = {}
        for key, state in found.items():
            (self._stored.discard if state.at_rest else self._stored.add)(key)
        return found

    def _of(self, size: int) -> SizeIndex:
        return self._sizes.setdefault(size, SizeIndex())

    def _index(self, rules: Sequence[RevisedRule]) -> None:
        self._watches = {rule.id: Watch.of(rule, revision) for rule, revision in rules if rule.enabled}
        for of_size in self._sizes.values():
            of_size.clear()
        for watch in self._watches.values():
            self._of(watch.policy.size).add(watch)

    def _watch(self, key: SeriesKey, state: SeriesState) -> Watch | None:
        """Returns the rule that continues a state; None if there is none any more."""
        watch = self._watches.get(key.rule)
        return watch if watch is not None and watch.continues(state) and watch.rule.watches(key.keyword) else None

    def _concerns(self, of_size: SizeIndex, reading: Reading) -> Iterator[_Concern]:
        """Yields the rules that a reading may change."""
        for watch in of_size.watching(reading.keyword):
            rule = watch.rule
            state = of_size.states.get(SeriesKey(rule.id, reading.keyword))
            if state is not None and not watch.continues(state):
                state = None
            is_open = state is not None and state.opened is not None
            if not reading.final and (is_open or not watch.is_monotone or not of_size.is_next(reading)):
                continue
            found = measured(rule.measure, reading)
            too_small = is_too_small(rule, found)
            if too_small and state is None:
                continue  # nothing begins, and there is nothing to end
            # A small volume begins nothing, whatever is usual, but may end an incident. A small share does neither.
            matters = not too_small or (watch.is_volume and is_open)
            yield _Concern(watch, state, found, matters and watch.needs_baseline)

    def _decide(
        self, of_size: SizeIndex, reading: Reading, concern: _Concern, hours: Mapping[int, Hour]
    ) -> list[Opened | Closed]:
        """Fold a reading into one series."""
        watch, state, found, compares = concern
        verdict, judgement = Verdict.NO_DATA, None
        if watch.needs_baseline and not compares:
            verdict = Verdict.BETWEEN if watch.is_volume else Verdict.NO_DATA
        elif found is not None:
            known = self._usual(of_size, watch, reading, hours) if compares else None
            self.not_compared += reading.final and compares and known is None
            judgement = judge(watch.rule, found, known)
            verdict = Verdict.NO_DATA if judgement is None else judgement.verdict
        if state is None:
            if verdict is not Verdict.FULFILS:
                return []
            state = watch.policy.new()
        step = (fold if reading.final else foresee)(watch.policy, state, reading.start, verdict)
        key = SeriesKey(watch.rule.id, reading.keyword)
        self._put(of_size, key, step.state, state)
        decisions: list[Opened | Closed] = []
        if step.end is not None:
            # An incident without data ends by the time, before this window.
            cleared = found is not None and step.end.because == CLEARED
            decisions.append(_closed(key, state, step.end, found.value if found is not None and cleared else None))
        if step.began is not None and found is not None and judgement is not None:
            decisions.append(_opened(key, watch, reading, step.began, _reason(watch.rule, found, judgement, reading)))
        return decisions

    def _usual(self, of_size: SizeIndex, watch: Watch, reading: Reading, hours: Mapping[int, Hour]) -> Known:
        is_kept, known = of_size.usual_of(watch, reading)
        if not is_kept:
            known = usual(watch.rule.measure, hours, reading.start, reading.size)
            of_size.set_usual(watch, reading, known)
        return known

    def _put(self, of_size: SizeIndex, key: SeriesKey, state: SeriesState, before: SeriesState | None = None) -> None:
        if state.at_rest:
            of_size.states.pop(key, None)
        else:
            of_size.states[key] = state
        if before is None or is_worth_storing(before, state):
            self._changed[key] = state


def _reason(rule: Rule, found: Measured, judgement: Judgement, reading: Reading) -> AlertReason:
    bounds = interval(rule.measure, found)
    reason = AlertReason(
        value=found.value,
        low=bounds.low,
        high=bounds.high,
        posts=found.whole,
        limit=judgement.limit,
        usual=judgement.usual,
        z=judgement.z,
        hours=judgement.hours,
        summary="",
    )
    return msgspec.structs.replace(reason, summary=opening(rule, reading.keyword, reason))


def _opened(key: SeriesKey, watch: Watch, reading: Reading, began: int, reason: AlertReason) -> Opened:
    incident = incident_key(key, reading.size, began)
    return Opened(incident, key.rule, watch.policy.revision, key.keyword, reading.size, began, reading.end, reason)


def _closed(key: SeriesKey, state: SeriesState, end: End, value: float | None) -> Closed:
    incident = incident_key(key, state.size, end.began)
    return Closed(incident, key.rule, state.revision, key.keyword, state.size, end.began, end.ended, end.because, value)
