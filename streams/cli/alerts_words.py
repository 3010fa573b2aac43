"""Words for alerts on a terminal: what a rule says, times, and spans."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from streams.alerts.isolation import without_isolates
from streams.alerts.rules.rule import EACH_KEYWORD, Change, EmotionShare, Rule, SentimentShare, Threshold
from streams.cli.output import printable, printable_name
from streams.records import ALL_KEYWORDS
from streams.records.values import MAX_KEYWORD_CHARS
from streams.timestamps import Timestamp
from streams.window_sizes import format_duration, parse_duration

ALL_POSTS = "all posts"
_SHOWN = 3


class SpanType(click.ParamType):
    """A span such as `30m`, `2h` or `7d`."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        """Returns the span; fails if it is not one, is 0, or is above 366 days."""
        if isinstance(value, timedelta):
            return value
        try:
            span = timedelta(seconds=parse_duration(value)) if value[-1:].isalpha() else timedelta()
        except (ValueError, OverflowError):
            span = timedelta()
        if not timedelta() < span <= timedelta(days=366):
            self.fail(f"{value!r} is not a span up to 366 days; write 30m, 2h or 7d", param, ctx)
        return span


class RuleIdType(click.ParamType):
    """The id of a rule."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Returns the id; fails if no rule can have it."""
        if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", value) is None:
            self.fail(f"{value!r} is not the id of a rule: lower-case letters, digits, '_' and '-'", param, ctx)
        return str(value)


class KeywordType(click.ParamType):
    """A keyword, or `*` for all posts."""

    name = "keyword"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Returns the keyword without white space around it; fails if no window can have it."""
        keyword = str(value).strip()
        if not 1 <= len(keyword) <= MAX_KEYWORD_CHARS or any("\ud800" <= one <= "\udfff" for one in keyword):
            self.fail(f"{value!r} is not a keyword of 1 to {MAX_KEYWORD_CHARS} characters", param, ctx)
        return keyword


def keyword_name(keyword: str) -> str:
    """Returns a keyword for people, safe for a terminal."""
    return ALL_POSTS if keyword == ALL_KEYWORDS else printable_name(keyword)


def summary_of(summary: str) -> str:
    """Returns the sentence that says why there is an incident, on one line and safe for a terminal."""
    return printable(without_isolates(summary))


def keywords_of(rule: Rule) -> str:
    """Returns which keywords a rule watches."""
    if rule.keywords == EACH_KEYWORD:
        return "each keyword"
    names = [keyword_name(keyword) for keyword in rule.keywords[:_SHOWN]]
    more = len(rule.keywords) - _SHOWN
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def condition_of(rule: Rule) -> str:
    """Returns when a rule finds an incident: `anger above 40 %, 2 × 5m`."""
    measure, condition = rule.measure, rule.condition
    is_share = isinstance(measure, EmotionShare | SentimentShare)
    what = printable(measure.label) if isinstance(measure, EmotionShare | SentimentShare) else "posts"
    side = condition.direction.value
    if isinstance(condition, Threshold):
        limit = f"{side} {condition.limit:g}{' %' if is_share else ''}"
    elif isinstance(condition, Change):
        limit = f"{condition.by:g} {'points' if is_share else '%'} {side} the usual"
    else:
        limit = f"{condition.z:g} deviations {side} the usual"
    return f"{what} {limit}, {rule.for_windows} × {format_duration(rule.window_s)}"


def minute_of(moment: datetime | None) -> str:
    """Returns a time in UTC to the minute; empty for None."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%MZ}"


def time_of(moment: datetime | None) -> str | None:
    """Returns a time in RFC 3339; None for None."""
    return None if moment is None else Timestamp.of(moment).rfc3339()
