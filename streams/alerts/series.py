"""The state of one series: a rule and a keyword, folded over its final windows in the order of their starts. Pure.

The states of a series, and what leads from one to the next:

    at rest --fulfils--> run --`for_windows` times--> incident --clears `for_windows` times--> cool-down --> at rest

Windows without data change nothing by themselves. More than `MAX_GAP_WINDOWS` of them in a row break a run, and
`no_data_ms` of them end an incident.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.records import AlertReason, Record

MAX_GAP_WINDOWS = 3
"""The most windows without data, one after the other, that a run may have inside."""

NO_DATA_HOURS = 24
NO_DATA_WINDOWS = 10
"""An incident without data ends after so many hours or windows of event time, whichever is longer."""

CLEARED = "cleared"
NO_DATA = "no data"
RULE_CHANGED = "the rule was changed"


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
