"""The state of one series: a rule and a keyword, folded over its final windows in the order of their starts. Pure.

The states of a series, and what leads from one to the next:

    at rest --fulfils--> run --`for_windows` times--> incident --clears `for_windows` times--> cool-down --> at rest

Windows without data change nothing by themselves. More than `MAX_GAP_WINDOWS` of them in a row break a run. After
`NO_DATA_HOURS` or `NO_DATA_WINDOWS` of them an incident ends.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from streams.alerts.engine.condition import Verdict
from streams.records import AlertReason, Record, from_ms

MAX_GAP_WINDOWS: Final = 3
"""The most windows without data, one after the other, that a run may have inside."""

NO_DATA_HOURS: Final = 24
NO_DATA_WINDOWS: Final = 10
"""An incident without data ends after so many hours or windows of event time, whichever is longer."""

CLEARED: Final = "cleared"
NO_DATA: Final = "no data"
RULE_CHANGED: Final = "the rule was changed"


class SeriesKey(NamedTuple):
    """Identifies a series: the id of its rule, and its keyword."""

    rule: str
    keyword: str


class SeriesState(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The state of a series. All times are in ms since 1970; None if there is none.

    Attributes:
        revision: the revision of the rule that made the state. A state of another revision is not continued.
        size: the size of the windows in seconds.
        last: start of the last final window that was folded.
        data: start of the last of them that had data.
        run: how many windows in a row fulfil the condition, or, during an incident, clear it.
        run_began: start of the first window of the run that fulfils the condition.
        opened: start of the first window of the open incident.
        not_before: a window that starts before this time begins no run: the end of the cool-down.
    """

    revision: int
    size: int
    last: int | None = None
    data: int | None = None
    run: int = 0
    run_began: int | None = None
    opened: int | None = None
    not_before: int | None = None

    @property
    def at_rest(self) -> bool:
        """Whether nothing is pending: no run, no incident, no cool-down. Such a state need not be stored."""
        return self.run == 0 and self.opened is None and self.not_before is None


class Opened(NamedTuple):
    """An incident begins.

    Attributes:
        incident: its key, the same in each evaluation.
        rule: the id of the rule.
        revision: the revision of the rule.
        keyword: the keyword of the series.
        size: the size of the windows in seconds.
        began: start of the first window that fulfils the condition, in ms since 1970.
        decided: end of the window with which the incident is certain, in ms since 1970.
        reason: why; without words, examples and points.
    """

    incident: str
    rule: str
    revision: int
    keyword: str
    size: int
    began: int
    decided: int
    reason: AlertReason


class Closed(NamedTuple):
    """An incident ends.

    Attributes:
        incident: its key.
        rule: the id of the rule.
        revision: the revision of the rule that opened it.
        keyword: the keyword of the series.
        size: the size of the windows in seconds.
        began: start of the first window of the incident, in ms since 1970.
        ended: when it ended, in ms since 1970: the end of the window that cleared it.
        because: `CLEARED`, `NO_DATA` or `RULE_CHANGED`.
        value: the value of the window that ended it, in posts or percent; None if there is none.
    """

    incident: str
    rule: str
    revision: int
    keyword: str
    size: int
    began: int
    ended: int
    because: str
    value: float | None = None


class Policy(NamedTuple):
    """How a rule makes incidents of verdicts.

    Attributes:
        revision: the revision of the rule.
        size: the size of its windows in seconds.
        for_windows: how many windows in a row begin, or end, an incident.
        cooldown_ms: how long after its end the series begins no other, in ms.
    """

    revision: int
    size: int
    for_windows: int
    cooldown_ms: int

    @property
    def size_ms(self) -> int:
        """The size of the windows in ms."""
        return self.size * 1_000

    @property
    def no_data_ms(self) -> int:
        """For how long an open incident may have no data, in ms."""
        return max(NO_DATA_HOURS * 3_600_000, NO_DATA_WINDOWS * self.size_ms)

    def new(self) -> SeriesState:
        """Returns the state of a series that has had no window."""
        return SeriesState(revision=self.revision, size=self.size)


class End(NamedTuple):
    """The end of an incident: the start of its first window, its own time, both in ms since 1970, and the cause."""

    began: int
    ended: int
    because: str


class Step(NamedTuple):
    """What a window does: the new state, the incident that it ends, and the start of the one that it begins.

    If it does both, the end is that of an earlier incident, which had no data.
    """

    state: SeriesState
    end: End | None = None
    began: int | None = None


def incident_key(key: SeriesKey, size: int, began: int) -> str:
    """Returns the key of an incident, the same in each evaluation of the same windows."""
    return f"{key.rule}|{key.keyword}|{size}|{from_ms(began).rfc3339()}"


def pass_to(policy: Policy, state: SeriesState, now: int) -> Step:
    """Returns what the time does to a series.

    Args:
        policy: how the rule makes incidents.
        state: the state of the series.
        now: the end of the windows that are decided, in ms since 1970.
    """
    end = None
    data_end = now if state.data is None else state.data + policy.size_ms
    changes: dict[str, int | None] = {}
    not_before = state.not_before
    if state.opened is not None and now - data_end >= policy.no_data_ms:
        end = End(state.opened, data_end + policy.no_data_ms, NO_DATA)
        not_before = end.ended + policy.cooldown_ms
        changes = {"opened": None, "run": 0, "not_before": not_before}
    elif state.run and now - data_end > MAX_GAP_WINDOWS * policy.size_ms:
        changes = {"run": 0, "run_began": None}
    if not_before is not None and now >= not_before:
        changes["not_before"] = None
    return Step(msgspec.structs.replace(state, **changes) if changes else state, end)


def fold(policy: Policy, state: SeriesState, start: int, verdict: Verdict) -> Step:
    """Returns what a final window does to a series. A window that is not later than the last one does nothing.

    Args:
        policy: how the rule makes incidents.
        state: the state of the series.
        start: the start of the window in ms since 1970.
        verdict: what the window says.
    """
    if state.last is not None and start <= state.last:
        return Step(state)
    state, end, _ = pass_to(policy, state, start)
    if verdict is Verdict.NO_DATA:
        return Step(msgspec.structs.replace(state, last=start), end)
    counted = msgspec.structs.replace(state, last=start, data=start)
    if state.opened is None:
        opened = _begin(policy, counted, start, verdict)
        return Step(opened, end, opened.opened)
    run = state.run + 1 if verdict is Verdict.CLEARS else 0
    if run < policy.for_windows:
        return Step(msgspec.structs.replace(counted, run=run), end)
    ended = start + policy.size_ms
    closed = msgspec.structs.replace(
        counted, opened=None, run=0, not_before=ended + policy.cooldown_ms if policy.cooldown_ms else None
    )
    return Step(closed, End(state.opened, ended, CLEARED))


def foresee(policy: Policy, state: SeriesState, start: int, verdict: Verdict) -> Step:
    """Returns what a provisional window does whose verdict is certain, if all windows before it were folded.

    It begins the incident that its final window would begin, or does nothing. The final window is still to be folded.
    """
    if verdict is not Verdict.FULFILS or state.opened is not None or (state.last is not None and start <= state.last):
        return Step(state)
    opened = _begin(policy, pass_to(policy, state, start).state, start, verdict)
    if opened.opened is None:
        return Step(state)
    return Step(msgspec.structs.replace(opened, data=start), None, opened.opened)


def is_worth_storing(before: SeriesState, after: SeriesState) -> bool:
    """Returns whether a state differs so that it must be stored.

    `last` alone guards against repetitions, which `Engine.ticks` does after a restart. `data` matters only to a run and
    to an incident.
    """
    data = before.data if after.run or after.opened is not None else after.data
    return msgspec.structs.replace(before, last=after.last, data=data) != after


def end_by_rule(state: SeriesState) -> End | None:
    """Returns the end of an open incident whose rule is gone or has changed: the end of its last window."""
    if state.opened is None:
        return None
    last = max(at for at in (state.opened, state.last, state.data) if at is not None)
    return End(state.opened, last + state.size * 1_000, RULE_CHANGED)


def _begin(policy: Policy, state: SeriesState, start: int, verdict: Verdict) -> SeriesState:
    """Returns the state of a series without an incident after a verdict."""
    if verdict is not Verdict.FULFILS or (state.not_before is not None and start < state.not_before):
        return msgspec.structs.replace(state, run=0, run_began=None)
    began = start if state.run_began is None else state.run_began
    if state.run + 1 < policy.for_windows:
        return msgspec.structs.replace(state, run=state.run + 1, run_began=began)
    return msgspec.structs.replace(state, run=0, run_began=None, opened=began)
