"""Runs the engine of the alerts over synthetic streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.alerts.comparators import Alarm
from benchmarks.alerts.streams import LABELS, Stream
from streams.alerts.backtest.spans import Span, take_span
from streams.alerts.engine.engine import Engine, Opened, RevisedRule
from streams.alerts.engine.measure import Hour, Reading
from streams.alerts.rules.rule import Rule


class _Hours:
    """The hours of all streams."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._hours = {stream.keyword: _hours_of(stream) for stream in streams}

    def get(self, keyword: str, starts: Iterable[int]) -> Mapping[int, Hour]:
        hours = self._hours[keyword]
        return {start: hours[start] for start in starts if start in hours}


def _hours_of(stream: Stream) -> dict[int, Hour]:
    """Returns the hours in which the system counted, by their start in milliseconds."""
    an_hour = max(1, 3_600 // stream.size_s)
    counts = stream.counts.reshape(-1, an_hour).sum(axis=1)
    labels = stream.labels.reshape(len(counts), an_hour, len(LABELS)).sum(axis=1)
    counted = stream.counted.reshape(-1, an_hour).any(axis=1)
    return {
        start: Hour(start, int(counts[number]), dict(zip(LABELS, labels[number].tolist(), strict=True)), {})
        for number in np.flatnonzero(counted)
        if (start := stream.start_ms(int(number) * an_hour)) is not None
    }


def fold(rules: Sequence[Rule], streams: Sequence[Stream]) -> dict[str, list[list[Alarm]]]:
    """Returns the incidents of each rule, for each stream.

    The streams have windows of one size and of the same time. They are taken as the evaluator takes final windows: in
    the order of their starts, and a window without posts does not exist.
    """
    size, origin = streams[0].size_s, streams[0].start_ms(0)
    revised = [RevisedRule(rule, 1) for rule in rules]
    engine = Engine(revised)
    engine.replace(revised)
    hours = _Hours(streams)
    numbers = {stream.keyword: number for number, stream in enumerate(streams)}
    found: dict[str, list[list[Alarm]]] = {rule.id: [[] for _ in streams] for rule in rules}
    for window in range(streams[0].first, len(streams[0].counts)):
        start = streams[0].start_ms(window)
        readings = [_reading(stream, window, start) for stream in streams if stream.counts[window]]
        counted = any(bool(stream.counted[window]) for stream in streams)
        span = Span(start, counted, readings)
        for event in take_span(engine, size, span, hours, named=(), among=numbers.keys()):
            if isinstance(event, Opened):
                began, decided = ((ms - origin) // (size * 1_000) for ms in (event.began, event.decided - 1))
                found[event.rule][numbers[event.keyword]].append(Alarm(began, decided))
        engine.changed()  # otherwise the engine would keep all states that changed
    return found


def _reading(stream: Stream, window: int, start: int) -> Reading:
    labels = dict(zip(LABELS, stream.labels[window].tolist(), strict=True))
    return Reading(stream.keyword, stream.size_s, start, int(stream.counts[window]), 0, labels, {}, final=True)
