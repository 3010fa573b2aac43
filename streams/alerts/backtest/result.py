"""What rules would have found in the history. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.alerts.engine.engine import Closed, Opened
from streams.alerts.rules.rule import Rule

WEEK_MS = 7 * 86_400_000


@dataclass
class Incident:
    """An incident that the rules would have found.

    Attributes:
        opened: its start.
        closed: its end; None if it is open at the end of the run.
    """

    opened: Opened
    closed: Closed | None = None

    @property
    def late_ms(self) -> int:
        """How long after the start of its first window it was certain, in milliseconds."""
        return self.opened.decided - self.opened.began


@dataclass
class RuleResult:
    """What a rule would have found.

    Attributes:
        rule: the rule.
        revision: its revision.
        begin: start of the first window that was evaluated, in ms since 1970.
        end: end of the last one.
        windows: windows that were evaluated, silent ones included.
        too_small: those of them with fewer posts than `min_posts`, for a share.
        series: keywords that were evaluated.
        series_without_data: those of them of which no window had enough posts.
        without_baseline: windows for which too few hours were known; 0 for a threshold.
        series_without_baseline: keywords that never had a baseline when they had data; 0 for a threshold.
        incidents: the incidents, in the order in which they were certain.
    """

    rule: Rule
    revision: int
    begin: int
    end: int
    windows: int = 0
    too_small: int = 0
    series: int = 0
    series_without_data: int = 0
    without_baseline: int = 0
    series_without_baseline: int = 0
    incidents: list[Incident] = field(default_factory=list)

    @property
    def weeks(self) -> float:
        """The evaluated time in weeks."""
        return max(0, self.end - self.begin) / WEEK_MS

    @property
    def per_week(self) -> float | None:
        """Incidents in a week, of all keywords together; None if no time was evaluated."""
        return len(self.incidents) / self.weeks if self.weeks else None

    def first_after(self, onset: int) -> Incident | None:
        """Returns the first incident that was certain after a time in ms since 1970."""
        return next((incident for incident in self.incidents if incident.opened.decided > onset), None)


@dataclass(frozen=True)
class Result:
    """What the rules would have found.

    Attributes:
        rules: the result of each rule.
        notes: what the reader must know about the history: where it begins too late, or ends too early.
    """

    rules: list[RuleResult]
    notes: list[str]
