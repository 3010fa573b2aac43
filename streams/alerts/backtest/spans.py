"""Windows of one size, grouped by their start, as the engine takes them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from streams.alerts.engine.engine import Closed, Engine, Opened
from streams.alerts.engine.measure import Hour, Reading
from streams.records import ALL_KEYWORDS


class Span(NamedTuple):
    """The windows that start at the same time.

    Attributes:
        start: their start in ms since 1970.
        complete: whether there is a window of all posts together. If so, a keyword without a window had no posts.
        readings: the windows.
    """

    start: int
    complete: bool
    readings: Sequence[Reading]


class HourSource(Protocol):
    """Where the hours are that tell what is usual."""

    def get(self, keyword: str, starts: Iterable[int]) -> Mapping[int, Hour]:
        """Returns the known hours of a keyword, by start in ms since 1970, of those that start at one of `starts`."""


def spans(readings: Iterable[Reading], counted: Iterable[int]) -> Iterator[Span]:
    """Yields the spans of windows that come in the order of their starts.

    Args:
        readings: the windows, in the order of their starts.
        counted: the starts of the windows of all posts together, in order.
    """
    starts = iter(counted)
    next_counted = next(starts, None)
    group: list[Reading] = []

    def grouped(start: int) -> Iterator[Span]:
        nonlocal next_counted
        while next_counted is not None and next_counted < start:
            yield Span(next_counted, complete=True, readings=())
            next_counted = next(starts, None)
        is_counted = next_counted == start
        if is_counted:
            next_counted = next(starts, None)
        yield Span(start, complete=is_counted, readings=tuple(group))
        group.clear()

    for reading in readings:
        if group and reading.start != group[0].start:
            yield from grouped(group[0].start)
        group.append(reading)
    if group:
        yield from grouped(group[0].start)
    while next_counted is not None:
        yield Span(next_counted, complete=True, readings=())
        next_counted = next(starts, None)


def take_span(
    engine: Engine,
    size: int,
    span: Span,
    hours: HourSource,
    *,
    named: Collection[str],
    among: Collection[str],
    seen: Callable[[Reading], None] = lambda reading: None,
) -> list[Opened | Closed]:
    """Hand all windows of a span to the engine, and return what it decides.

    If the span is complete, keywords without a window have silent ones: those that rules name, and those whose series
    has something pending. Then the span is decided. The live evaluation does the same
    (`streams.alerts.evaluation.deciding`).

    Args:
        engine: the engine.
        size: the size of the windows in seconds.
        span: the windows.
        hours: the hours that tell what is usual.
        named: the keywords that rules name.
        among: the keywords that are evaluated.
        seen: called with each window, and with each silent one.
    """
    readings = {reading.keyword: reading for reading in span.readings}
    if span.complete:
        for keyword in engine.expected(size).union(named).intersection(among) - readings.keys() - {ALL_KEYWORDS}:
            readings[keyword] = Reading.silent(keyword, size, span.start)
    decisions: list[Opened | Closed] = []
    for keyword in sorted(readings):
        reading = readings[keyword]
        seen(reading)
        decisions += engine.take(reading, hours.get(keyword, engine.hours_wanted(reading)))
    if span.complete:
        decisions += engine.tick(size, span.start + size * 1_000)
    return decisions
