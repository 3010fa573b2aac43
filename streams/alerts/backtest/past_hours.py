"""Keeps the hours of some keywords that tell what is usual, as far back as rules look. Pure apart from its source."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from streams.alerts.engine.baseline import DAY_MS, HOUR_MS, HOUR_S, KEPT_MS
from streams.alerts.engine.measure import Hour, Reading


class WindowSource(Protocol):
    """Where windows are read."""

    def counted(self, size: int, begin: int, end: int) -> Sequence[int]:
        """Returns the starts of the windows of all posts together."""

    def windows(self, keywords: Sequence[str], size: int, begin: int, end: int) -> Iterator[Reading]:
        """Yields the windows of some keywords, by start."""


class HourParts(NamedTuple):
    """The windows that make up the hours of a time.

    Attributes:
        size: their size in seconds; it divides an hour.
        begin: the start of the first hour, in ms since 1970.
        end: the end of the last hour.
    """

    size: int
    begin: int
    end: int


class PastHours:
    """The hours of some keywords. Memory holds 29 days of them, and those that were loaded last.

    An hour is a window of an hour, or smaller windows added up.
    """

    def __init__(self, source: WindowSource, keywords: Sequence[str], parts: Sequence[HourParts]) -> None:
        """Create an empty store.

        Args:
            source: where the windows are read.
            keywords: the keywords.
            parts: the windows that make up the hours; they do not overlap. Without any, no hour is known.
        """
        self._source = source
        self._keywords = keywords
        self._parts = parts
        self._hours: dict[str, dict[int, Hour]] = defaultdict(dict)
        self._counted: set[int] = set()
        self._first: dict[str, int] = {}
        self._loaded_to: int | None = None

    def load(self, begin: int, end: int) -> None:
        """Read the hours that windows of a time look at, and drop those that they do not.

        Args:
            begin: the start of the windows that are evaluated next, in ms since 1970. It never goes back.
            end: the end of them.
        """
        first = begin - begin % HOUR_MS - KEPT_MS
        loaded = first if self._loaded_to is None else self._loaded_to
        for part in self._parts:
            for day in range(max(loaded, part.begin), min(end, part.end), DAY_MS):
                self._read(part.size, day, min(end, part.end, day + DAY_MS))
        self._loaded_to = max(loaded, end)
        self._counted = {start for start in self._counted if start >= first}
        for hours in self._hours.values():
            for start in [start for start in hours if start < first]:
                del hours[start]

    def _read(self, size: int, begin: int, end: int) -> None:
        self._counted.update(start - start % HOUR_MS for start in self._source.counted(size, begin, end))
        for reading in self._source.windows(self._keywords, size, begin, end):
            start = reading.start - reading.start % HOUR_MS
            hours = self._hours[reading.keyword]
            self._first[reading.keyword] = min(start, self._first.get(reading.keyword, start))
            hours[start] = add(hours.get(start), start, reading)

    def get(self, keyword: str, starts: Iterable[int]) -> Mapping[int, Hour]:
        """Returns the known hours of a keyword, by start, of those that start at one of `starts`.

        An hour without posts of the keyword is known if there were posts of others, and the keyword had posts before:
        it may not have been followed before its first window.
        """
        hours, found = self._hours.get(keyword, {}), {}
        first = self._first.get(keyword, math.inf)
        for start in starts:
            if start in hours:
                found[start] = hours[start]
            elif start > first and start in self._counted:
                found[start] = Hour(start, 0, {}, {})
        return found


def add(hour: Hour | None, start: int, reading: Reading) -> Hour:
    """Returns an hour with the counts of a window added."""
    if hour is None:
        return Hour(start, reading.count, reading.labels, reading.sentiments, reading.unsupported)
    return Hour(
        start,
        hour.count + reading.count,
        _sum(hour.labels, reading.labels),
        _sum(hour.sentiments, reading.sentiments),
        hour.unsupported + reading.unsupported,
    )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {label: one.get(label, 0) + other.get(label, 0) for label in {**one, **other}}


def hour_parts(sizes: Mapping[int, tuple[int, int]]) -> list[HourParts]:
    """Returns the windows that make up the hours.

    Hours are the windows of an hour. Where these began later than smaller ones, or there are none, the largest of the
    smaller ones that make up an hour are added up for the time before. The view `hour_parts` has the same rule.

    Args:
        sizes: by size in seconds, the start of the first window and the end of the last one, in ms since 1970.
    """
    begin, end = sizes.get(HOUR_S, (None, None))
    found = [] if begin is None or end is None else [HourParts(HOUR_S, begin, end)]
    smaller = [
        size
        for size, (first, _) in sizes.items()
        if size < HOUR_S and HOUR_S % size == 0 and (begin is None or first < begin)
    ]
    if smaller:
        first, last = sizes[max(smaller)]
        first -= first % HOUR_MS
        if begin is None or first < begin:
            found.insert(0, HourParts(max(smaller), first, last if begin is None else begin))
    return found
