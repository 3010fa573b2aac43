"""Tells what a rule would have found in the last hours of the history, within limits of work and of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from psycopg import IsolationLevel

from connectors.postgres import connect, postgres_errors
from streams.alerts.backtest.backtest import run
from streams.alerts.backtest.past_windows import PastWindows
from streams.alerts.backtest.result import Incident, RuleResult
from streams.alerts.engine.condition import needs_baseline
from streams.alerts.engine.engine import RevisedRule
from streams.alerts.rules.rule import EACH_KEYWORD, Rule
from streams.errors import DeadlineExceededError, InputError

MAX_WINDOWS = 200_000
"""The most windows that a preview evaluates or reads for its baseline."""

MAX_INCIDENTS = 500
"""The most incidents of a preview, the latest."""

_BASELINE_HOURS = 28 * 24


class Preview(NamedTuple):
    """What a rule would have found: the figures, the latest incidents, and what to know about the history."""

    found: RuleResult
    incidents: list[Incident]
    notes: list[str]


def preview(
    dsn: str,
    rule: Rule,
    *,
    hours: int,
    only: Collection[str] = (),
    limit_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Preview:
    """Returns what a rule would have found. It waits for Postgres, so call it in a thread.

    Args:
        dsn: The address of the database.
        rule: The rule; it is evaluated even if it is not enabled.
        hours: How many hours of the history, up to its end.
        only: The keywords to which the rule is limited; empty for all that it watches.
        limit_s: Seconds after which it gives up.
        clock: Seconds of a clock that never goes back.

    Raises:
        InputError: The history has no windows of the rule's size, or there are too many.
        DeadlineExceededError: The time was over.
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    end_s = clock() + limit_s

    def check(_share: float) -> None:
        if clock() > end_s:
            raise DeadlineExceededError(f"the preview took longer than {limit_s:g} s; take fewer keywords or hours")

    with connect(dsn, application_name="emostream-api-preview") as connection:
        connection.read_only = True
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with postgres_errors("beginning a preview"):
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(limit_s * 1_000))])
        history = PastWindows(connection)
        bounds = history.sizes().get(rule.window_s)
        if bounds is None:
            raise InputError("the history has no windows of this size")
        begin = bounds.end - hours * 3_600_000
        _check_work(rule, _keywords(history, rule, begin, bounds.end, only), hours)
        enabled = rule.model_copy(update={"enabled": True})
        result = run(history, [RevisedRule(enabled, 1)], begin, bounds.end, only=only, progress=check)
    [found] = result.rules
    return Preview(found, found.incidents[-MAX_INCIDENTS:], result.notes)


def _keywords(history: PastWindows, rule: Rule, begin: int, end: int, only: Collection[str]) -> int:
    """Returns how many keywords are evaluated."""
    if rule.keywords == EACH_KEYWORD and not only:
        return len(history.keywords(rule.window_s, begin, end))
    return len(only) if only else len(rule.keywords)


def _check_work(rule: Rule, keywords: int, hours: int) -> None:
    windows = keywords * (hours * 3_600 // rule.window_s + (_BASELINE_HOURS if needs_baseline(rule.condition) else 0))
    if windows > MAX_WINDOWS:
        raise InputError(
            f"the rule has about {windows:,} windows in {keywords:,} keywords and {hours:,} hours; at most "
            f"{MAX_WINDOWS:,} are evaluated: take fewer hours, or name some keywords"
        )
