"""One plain sentence that says what happened. Pure.

Keywords and labels come from posts and models. Each is isolated (U+2068 and U+2069), so that a text that is written
from right to left does not reorder the sentence (Unicode Standard Annex 9).
"""

from __future__ import annotations

from streams.alerts.engine.series import CLEARED, NO_DATA
from streams.alerts.isolation import isolated
from streams.alerts.rules.rule import Direction, Measure, Rule, SentimentShare, Volume
from streams.charts.shares import percent
from streams.charts.text import drawable
from streams.records import ALL_KEYWORDS, AlertReason
from streams.window_sizes import format_duration
from streams.wording import counted


def opening(rule: Rule, keyword: str, reason: AlertReason) -> str:
    """Returns what happened.

    For example `anger rose to 41 % of 320 posts about coffee in 1h (usual at this hour: 12 %, interval 36 to 47 %)`,
    or `anger is 41 % of 320 posts about coffee in 1h, above the limit of 30 % (interval 36 to 47 %)`.
    """
    up = rule.condition.direction is Direction.ABOVE
    value = amount(rule.measure, reason.value)
    within = f"in {format_duration(rule.window_s)}"
    low, high = amount(rule.measure, reason.low), amount(rule.measure, reason.high)
    interval = f"interval {low.removesuffix(' %')} to {high}"
    if isinstance(rule.measure, Volume):
        subject, of_posts = f"the number of posts{_about(keyword)}", ""
    else:
        subject, of_posts = label_of(rule.measure), f" of {counted(reason.posts, 'post')}{_about(keyword)}"
    if reason.usual is None:
        passed = f"{'above' if up else 'below'} the limit of {amount(rule.measure, reason.limit)}"
        return f"{subject} is {value}{of_posts} {within}, {passed} ({interval})"
    usual = f"usual at this hour: {amount(rule.measure, reason.usual)}"
    return f"{subject} {'rose' if up else 'fell'} to {value}{of_posts} {within} ({usual}, {interval})"


def closing(rule: Rule, keyword: str, because: str, value: float | None) -> str:
    """Returns how an incident ended, for a `because` and a `value` of `Closed`."""
    volume = isinstance(rule.measure, Volume)
    subject = f"{'the number of posts' if volume else f'the share of {label_of(rule.measure)}'}{_about(keyword)}"
    if because == CLEARED:
        return f"{subject} is back{'' if value is None else f' at {amount(rule.measure, value)}'}"
    if because == NO_DATA:
        return f"{subject} has had no data for too long, so the incident was closed"
    return f"{subject} is no longer watched as before, because {because}"


def amount(measure: Measure, value: float) -> str:
    """Returns a value with its unit: `41 %`, or `1,200` for a volume."""
    if not isinstance(measure, Volume):
        return percent(value)
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def label_of(measure: Measure) -> str:
    """Returns the isolated name of what a measure counts: `anger`, `negative sentiment`, or `posts`."""
    if isinstance(measure, Volume):
        return "posts"
    return f"{isolated(drawable(measure.label))}{' sentiment' if isinstance(measure, SentimentShare) else ''}"


def _about(keyword: str) -> str:
    return "" if keyword == ALL_KEYWORDS else f" about {isolated(drawable(keyword))}"
