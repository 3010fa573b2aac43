"""Runs rules over the history in Postgres, with the engine that evaluates them live.

A run has these steps, for each size of windows and each batch of keywords:

1. Read the hours of four weeks before the start, which tell what is usual.
2. For each part of the time: read the hours up to its end, and take its windows in the order of their starts.
3. Decide each span after its windows, as the evaluator does.

Series do not depend on each other, so the order of the keywords does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from streams.alerts.backtest.past_hours import HourParts, PastHours, WindowSource, hour_parts
from streams.alerts.backtest.result import Incident, Result, RuleResult
from streams.alerts.backtest.spans import spans, take_span
from streams.alerts.backtest.tally import Tally
from streams.alerts.engine.baseline import DAY_MS, KEPT_MS
from streams.alerts.engine.condition import needs_baseline
from streams.alerts.engine.engine import Closed, Engine, Opened, RevisedRule
from streams.alerts.rules.rule import EACH_KEYWORD
from streams.errors import InputError
from streams.records import from_ms
from streams.window_sizes import format_duration

KEYWORDS_AT_ONCE = 100
"""Keywords whose hours are in memory at a time."""

_WINDOWS_AT_ONCE = 50
"""At least so many windows of a keyword are read in one statement, and at least a day of them."""


class HistorySource(WindowSource, Protocol):
    """Where the history is read."""

    def sizes(self) -> Mapping[int, tuple[int, int]]:
        """Returns by size in seconds the start of the first window and the end of the last, in ms since 1970."""

    def keywords(self, size: int, begin: int, end: int) -> Sequence[str]:
        """Returns the keywords that have windows which start in `[begin, end)`, without `*`."""


def run(
    history: HistorySource,
    rules: Sequence[RevisedRule],
    begin: int,
    end: int,
    *,
    only: Collection[str] = (),
    progress: Callable[[float], None] = lambda share: None,
) -> Result:
    """Returns what the rules would have found in the windows that start in `[begin, end)`.

    An incident that began before is found as one that begins with the first window.

    Args:
        history: where the windows are read.
        rules: the rules; those that are not enabled are left out.
        begin: the start, in ms since 1970.
        end: the end, exclusive.
        only: the keywords to which the rules are limited; empty for all.
        progress: called with the share of the work that is done, 0 to 1.

    Raises:
        InputError: The history has no windows of a rule's size, or none that make up hours, which a rule needs.
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    enabled = [revised for revised in rules if revised.rule.enabled]
    sizes = history.sizes()
    parts = _check(enabled, sizes)
    by_size = {size: [one for one in enabled if one.rule.window_s == size] for size in sizes}
    work = {
        size: sorted(
            keyword
            for keyword in _named(of_size) | _each(history, of_size, size, begin, end)
            if not only or keyword in only
        )
        for size, of_size in by_size.items()
        if of_size
    }
    batches = [
        (size, keywords[first : first + KEYWORDS_AT_ONCE])
        for size, keywords in work.items()
        for first in range(0, len(keywords), KEYWORDS_AT_ONCE)
    ]
    results = {
        revised.rule.id: RuleResult(
            revised.rule,
            revised.revision,
            max(begin, sizes[revised.rule.window_s][0]),
            min(end, sizes[revised.rule.window_s][1]),
        )
        for revised in enabled
    }
    for number, (size, keywords) in enumerate(batches):
        of_size = by_size[size]
        hours = PastHours(history, keywords, parts if _need_baseline(of_size) else ())
        for done in _run_batch(history, of_size, _Batch(size, keywords, begin, end), hours, results):
            progress((number + done) / len(batches))
    for result in results.values():
        result.incidents.sort(key=lambda incident: (incident.opened.decided, incident.opened.keyword))
    return Result(list(results.values()), _notes(enabled, sizes, parts, begin, end))


class _Batch(NamedTuple):
    """Windows of one size, of some keywords, in a time."""

    size: int
    keywords: Sequence[str]
    begin: int
    end: int


def _run_batch(
    history: HistorySource,
    rules: Sequence[RevisedRule],
    batch: _Batch,
    hours: PastHours,
    results: Mapping[str, RuleResult],
) -> Iterator[float]:
    """Evaluate the windows of a batch, and yield the share of the time that is done after each part."""
    size, keywords, begin, end = batch
    engine = Engine(rules)
    engine.replace(rules)
    named, among = _named(rules), frozenset(keywords)
    tally = Tally([revised.rule for revised in rules], hours)
    found: dict[str, Incident] = {}
    length = max(DAY_MS, _WINDOWS_AT_ONCE * size * 1_000)
    for first in range(begin, end, length):
        last = min(end, first + length)
        # Step 1 and the first half of step 2: the hours.
        hours.load(first, last)
        readings = history.windows(keywords, size, first, last)
        for span in spans(readings, history.counted(size, first, last)):
            for event in take_span(engine, size, span, hours, named=named, among=among, seen=tally.add):
                _note(event, found)
        engine.changed()  # otherwise the engine would keep all states that changed
        yield (last - begin) / (end - begin)
    for incident in found.values():
        results[incident.opened.rule].incidents.append(incident)
    tally.add_to(results)


def _note(event: Opened | Closed, found: dict[str, Incident]) -> None:
    if isinstance(event, Opened):
        found[event.incident] = Incident(event)
    elif event.incident in found:
        found[event.incident].closed = event


def _each(history: HistorySource, rules: Sequence[RevisedRule], size: int, begin: int, end: int) -> set[str]:
    """Returns the keywords that a rule for each keyword watches."""
    if not any(one.rule.keywords == EACH_KEYWORD for one in rules):
        return set()
    return set(history.keywords(size, begin, end))


def _named(rules: Sequence[RevisedRule]) -> set[str]:
    return {keyword for one in rules if one.rule.keywords != EACH_KEYWORD for keyword in one.rule.keywords}


def _need_baseline(rules: Sequence[RevisedRule]) -> list[str]:
    return [one.rule.id for one in rules if needs_baseline(one.rule.condition)]


def _check(rules: Sequence[RevisedRule], sizes: Mapping[int, tuple[int, int]]) -> list[HourParts]:
    there_are = ", ".join(format_duration(size) for size in sorted(sizes)) or "none at all"
    for one in rules:
        if one.rule.window_s not in sizes:
            wanted = format_duration(one.rule.window_s)
            raise InputError(f"rule {one.rule.id}: the history has no windows of {wanted}; it has {there_are}")
    parts = hour_parts(sizes)
    if not parts and (needing := _need_baseline(rules)):
        raise InputError(
            f"rule {needing[0]}: the history has no windows that make up hours, which tell what is usual; it has "
            f"{there_are}. Count windows of 1h"
        )
    return parts


def _notes(
    rules: Sequence[RevisedRule],
    sizes: Mapping[int, tuple[int, int]],
    parts: Sequence[HourParts],
    begin: int,
    end: int,
) -> list[str]:
    """Returns what the reader must know about the history."""
    notes = []
    for size in sorted({one.rule.window_s for one in rules}):
        first, last = sizes[size]
        if first > begin:
            notes.append(f"the windows of {format_duration(size)} begin at {from_ms(first).rfc3339()}, after --from")
        if last < end:
            notes.append(
                f"the windows of {format_duration(size)} end at {from_ms(last).rfc3339()}, before --to; if posts came "
                "later, the sink lags behind: emostream sink status"
            )
    if parts and _need_baseline(rules) and parts[0].begin > begin - KEPT_MS + DAY_MS:
        notes.append(
            f"the hours begin at {from_ms(parts[0].begin).rfc3339()}, less than four weeks before --from, so fewer "
            "hours tell what is usual in the first weeks"
        )
    return notes
