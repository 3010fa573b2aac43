"""The engine: decides from windows and rules which incidents begin and end. Pure, and deterministic in event time.

The decisions are a pure function of the rules and the final windows. So the caller hands in windows like this:

1. The final windows of a series come in the order of their starts. A window that starts before one that was folded, or
   at the same time, changes nothing. So the caller merges the partitions of the windows topic by start.
2. After all final windows of a span were taken, and `silent` was called for the keywords that `expected` returns and
   that have none, the caller calls `tick` with the end of the span. From then on, windows of that span and before
   change nothing: late corrections, repetitions after a restart.
3. The caller stores `changed` and `ticks` in one transaction with the decisions, best just after a `tick`.

Provisional windows may come at any time. One of them can begin an incident only where its final window must too: a
volume above a threshold, if all windows of the series before it are decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.alerts.measure import Hour, Reading
from streams.alerts.rule import Rule
from streams.alerts.series import Closed, Opened, SeriesKey, SeriesState

__all__ = ["Closed", "Engine", "Hour", "Opened", "Reading", "RevisedRule", "SeriesKey", "SeriesState"]


class RevisedRule(NamedTuple):
    """A rule and its revision."""

    rule: Rule
    revision: int


class Engine:
    """Decides which incidents begin and end. One task uses it at a time.

    Attributes:
        ignored: how many final windows changed nothing, because they came after their span was decided.
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
        raise NotImplementedError

    def replace(self, rules: Sequence[RevisedRule]) -> list[Closed]:
        """Use other rules from now on.

        Returns:
            The ends of the open incidents whose rule is gone, disabled or has another revision. After the
            construction of the engine, those of the states that it was given.
        """
        raise NotImplementedError

    @property
    def ticks(self) -> dict[int, int]:
        """By size in seconds: the end of the last span that is decided, in ms since 1970."""
        raise NotImplementedError

    def hours_wanted(self, reading: Reading) -> frozenset[int]:
        """Returns the starts, in ms since 1970, of the hours of the reading's keyword that `take` needs.

        It is empty for most readings. The engine keeps what it computes from these hours until the next hour, so that
        the next window of the hour needs none.
        """
        raise NotImplementedError

    def take(self, reading: Reading, hours: Mapping[int, Hour]) -> list[Opened | Closed]:
        """Fold a window into all series of its keyword.

        Args:
            reading: the window.
            hours: by start, those of `hours_wanted` that are known.

        Returns:
            The decisions, in the order of the rules.
        """
        raise NotImplementedError

    def silent(self, keyword: str, size: int, start: int, hours: Mapping[int, Hour]) -> list[Opened | Closed]:
        """Fold a window that does not exist, although there is one of all posts: a volume of 0, and no share.

        It is `take` of `Reading.silent`, for which `hours_wanted` returns the hours.
        """
        raise NotImplementedError

    def tick(self, size: int, end_ms: int) -> list[Closed]:
        """Decide all spans of a size up to an end, also for series that have no window.

        Args:
            size: the size in seconds.
            end_ms: the end of the span whose windows were all taken, in ms since 1970.

        Returns:
            The ends of incidents that have had no data for too long.
        """
        raise NotImplementedError

    def expected(self, size: int) -> frozenset[str]:
        """Returns the keywords for which `silent` matters: of rules for volumes, named or with something pending."""
        raise NotImplementedError

    def changed(self) -> dict[SeriesKey, SeriesState]:
        """Returns the states that changed since the last call. Those `at_rest` are to be deleted."""
        raise NotImplementedError
