"""Hours before the first window of a keyword are not known, live and in a backtest; later ones without posts are 0."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from streams.alerts.backtest.past_hours import HourParts, PastHours
from streams.alerts.engine.baseline import DAY_MS, HOUR_MS, hours_for, usual
from streams.alerts.engine.measure import Hour, Reading
from streams.alerts.evaluation.tables import AlertTables
from streams.alerts.rules.rule import Volume
from streams.query.windows import SpanRows
from streams.records import ALL_KEYWORDS
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON_MS

NOW = NOON_MS - NOON_MS % HOUR_MS
WEEKS = range(NOW - 40 * DAY_MS, NOW, HOUR_MS)
"""The hours in which the system counted posts."""


class Counted:
    """The hours in which some keywords had a post; both a stand-in for Redis, and the history."""

    sizes = frozenset({3_600})

    def __init__(self, **hours: Sequence[int]) -> None:
        self._hours = {ALL_KEYWORDS: {*WEEKS}, **{keyword: {*starts} for keyword, starts in hours.items()}}
        self.read = 0

    async def at_starts(self, keyword: str, size: int, starts: Sequence[int]) -> SpanRows:
        self.read += len(starts)
        there = [start for start in starts if start in self._hours.get(keyword, ())]
        row = {"n": "7", "l:joy": "7", "rev": "1", "final": "1"}
        return SpanRows([(WindowKey(keyword, size, start), row) for start in there], 0, -1, NOW)

    def counted(self, size: int, begin: int, end: int) -> Sequence[int]:
        return [start for start in sorted(self._hours[ALL_KEYWORDS]) if begin <= start < end]

    def windows(self, keywords: Sequence[str], size: int, begin: int, end: int) -> Iterator[Reading]:
        found = [(start, word) for word in keywords for start in self._hours.get(word, ()) if begin <= start < end]
        for start, word in sorted(found):
            yield Reading(word, size, start, 7, 0, {"joy": 7}, {}, final=True)


def live(windows: Counted, keyword: str, starts: Sequence[int]) -> Mapping[int, Hour]:
    tables: Any = windows
    return asyncio.run(AlertTables(tables).hours(keyword, starts))


def in_a_backtest(windows: Counted, keyword: str, starts: Sequence[int]) -> Mapping[int, Hour]:
    past = PastHours(windows, [keyword], [HourParts(3_600, WEEKS.start, NOW)])
    past.load(NOW, NOW + HOUR_MS)
    return past.get(keyword, starts)


both = pytest.mark.parametrize("read", [live, in_a_backtest])


@both
def test_a_keyword_that_is_new_has_no_hours_from_before_it_was_followed(read: Any) -> None:
    first = NOW - 3 * DAY_MS - 5 * HOUR_MS
    windows = Counted(coffee=[first, NOW - 2 * DAY_MS])
    wanted = hours_for(NOW, 300)
    found = read(windows, "coffee", wanted)
    assert {start: hour.count for start, hour in found.items()} == {
        start: 7 if start == NOW - 2 * DAY_MS else 0 for start in wanted if start > first
    }
    assert len(found) == 3
    # Three hours tell nothing. With zeros for the weeks before, the usual volume would be 0, and any post unusual.
    assert usual(Volume(), found, NOW, 300) is None


@both
def test_hours_without_posts_count_for_a_keyword_that_has_been_followed(read: Any) -> None:
    wanted = hours_for(NOW, 300)
    found = read(Counted(coffee=[min(wanted) - HOUR_MS]), "coffee", wanted)
    assert {start: hour.count for start, hour in found.items()} == dict.fromkeys(wanted, 0)
    known = usual(Volume(), found, NOW, 300)
    assert known is not None
    assert known.value == 0


@both
def test_a_keyword_that_never_had_a_post_has_no_hours(read: Any) -> None:
    assert read(Counted(), "coffee", hours_for(NOW, 300)) == {}


def test_the_first_hour_is_looked_for_once() -> None:
    windows: Any = Counted(coffee=[NOW - 3 * DAY_MS])
    tables = AlertTables(windows)
    wanted = sorted(hours_for(NOW, 300))
    first = asyncio.run(tables.hours("coffee", wanted))
    windows.read = 0
    assert asyncio.run(tables.hours("coffee", wanted)) == first
    assert windows.read == 0
