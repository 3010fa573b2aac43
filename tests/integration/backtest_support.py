"""A history for tests of `alerts backtest`: synthetic windows in Postgres, and their evaluation as it is live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from benchmarks.alerts.streams import LABELS, MONDAY_MS, Kind, Stream, make
from streams.alerts.engine.engine import Closed, Hour, Opened
from streams.alerts.engine.measure import Reading
from streams.alerts.evaluation.deciding import Deciding
from streams.alerts.evaluation.held import Place
from streams.alerts.evaluation.metrics import AlertMetrics
from streams.alerts.rules.rule import Rule
from streams.alerts.storage.stored import StoredRule
from streams.records import ALL_KEYWORDS, EmotionWindow, LabelStats, SentimentStats, from_ms

DAY_MS = 86_400_000
BEGIN = MONDAY_MS + 28 * DAY_MS
END = BEGIN + 3 * DAY_MS
FIVE_FROM = BEGIN - 8 * DAY_MS
"""The history has windows of five minutes from here on."""

KINDS = {"anger": Kind.STEP_SHARE, "crowd": Kind.STEP_VOLUME, "holes": Kind.HOLES, "quiet": Kind.OUTAGE}


def history() -> list[EmotionWindow]:
    """Returns windows of an hour of four weeks and three days, and those of five minutes of the last eleven days."""
    found: list[EmotionWindow] = []
    for size, since in ((3_600, MONDAY_MS), (300, FIVE_FROM)):
        streams = {keyword: make(kind, [900], seed=3, size_s=size, days=3)[0] for keyword, kind in KINDS.items()}
        counted = streams["quiet"].counted  # the outage is one of everything
        for window in range(len(counted)):
            start = streams["quiet"].start_ms(window)
            if start < since or not counted[window]:
                continue
            parts = {keyword: _counts(stream, window) for keyword, stream in streams.items()}
            found += [_window(keyword, size, start, counts) for keyword, counts in parts.items() if counts]
            together = {label: sum(counts.get(label, 0) for counts in parts.values()) for label in LABELS}
            found.append(_window(ALL_KEYWORDS, size, start, {**together, "joy": together["joy"] + 1}))
    return found


def _counts(stream: Stream, window: int) -> dict[str, int]:
    return {label: count for label, count in zip(LABELS, stream.labels[window].tolist(), strict=True) if count}


def _window(keyword: str, size: int, start: int, counts: dict[str, int]) -> EmotionWindow:
    posts = sum(counts.values())
    negative = counts.get("anger", 0) + counts.get("sadness", 0)
    sentiments = {"negative": negative, "positive": posts - negative}
    return EmotionWindow(
        keyword=keyword,
        size=size,
        start=from_ms(start),
        end=from_ms(start + size * 1_000),
        count=posts,
        labels={label: LabelStats(count, 100 * count / posts, 0.5) for label, count in counts.items()},
        sentiment=SentimentStats({label: count for label, count in sentiments.items() if count}, 0.0),
        models={},
        sources={},
        first_event=from_ms(start),
        last_event=from_ms(start),
        revision=1,
        final=True,
        late=0,
    )


def store(dsn: str, windows: Iterable[EmotionWindow]) -> None:
    """Write windows to Postgres, as the sink does."""
    windows = list(windows)
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY emotion_windows FROM STDIN") as copy:
            for one in windows:
                key = (one.keyword, one.size, one.start, one.end)
                rest = (one.first_event, one.last_event, one.late, one.final, one.revision, one.unsupported, "{}")
                copy.write_row((*key, one.count, 0.0, "{}", "{}", *rest))
        with cursor.copy("COPY emotion_window_labels FROM STDIN") as copy:
            for one in windows:
                for label, stats in one.labels.items():
                    copy.write_row((one.keyword, one.size, one.start, label, stats.count, stats.pct, 0.5))
        with cursor.copy("COPY emotion_window_sentiments FROM STDIN") as copy:
            for one in windows:
                for label, count in (one.sentiment.labels if one.sentiment else {}).items():
                    copy.write_row((one.keyword, one.size, one.start, label, count, 100 * count / one.count))
        connection.execute("ANALYZE emotion_windows, emotion_window_labels, emotion_window_sentiments")


class _Tables:
    """Stands in for the window tables in Redis: it has all windows."""

    def __init__(self, windows: Iterable[EmotionWindow]) -> None:
        self._hours: dict[tuple[str, int], Hour] = {}
        for one in windows:
            if one.size == 3_600:
                read = Reading.of_window(one)
                hour = Hour(read.start, read.count, read.labels, read.sentiments, read.unsupported)
                self._hours[one.keyword, read.start] = hour
        self._first = dict(sorted(self._hours, reverse=True))

    async def hours(self, keyword: str, starts: Iterable[int]) -> dict[int, Hour]:
        found = {}
        for start in starts:
            if (keyword, start) in self._hours:
                found[start] = self._hours[keyword, start]
            elif start > self._first[keyword] and (ALL_KEYWORDS, start) in self._hours:
                found[start] = Hour(start, 0, {}, {})
        return found

    async def absent(self, keyword: str, size: int, start: int) -> Reading | None:
        return Reading.silent(keyword, size, start)


def decided_live(rules: Sequence[Rule], windows: Iterable[EmotionWindow]) -> list[Opened | Closed]:
    """Returns what the evaluator decides when these final windows come as records of the windows topic."""
    windows = list(windows)
    tables: Any = _Tables(windows)

    async def decide() -> list[Opened | Closed]:
        deciding = Deciding(
            [StoredRule(rule, 0, from_ms(0)) for rule in rules],
            {},
            {},
            tables=tables,
            metrics=AlertMetrics(),
            hold_ms=0,
        )
        # The evaluation of a process that has just started begins with the windows at BEGIN.
        for offset, one in enumerate(sorted(windows, key=lambda one: (one.end, one.keyword))):
            reading = Reading.of_window(one)
            if BEGIN <= reading.start < END and deciding.watches(reading.keyword, reading.size):
                deciding.add(reading, Place(0, offset, reading.end, reading.end))
        await deciding.decide(END + DAY_MS, None)
        decisions = deciding.take_decisions({}, {0: len(windows)})
        return [*(opened for opened, _ in decisions.opened), *decisions.closed]

    return asyncio.run(decide())


def to_json(decision: Opened | Closed) -> str:
    """Returns all that a decision says, to compare two."""
    if isinstance(decision, Opened):
        return json.dumps(["opened", *decision[:-1], json.loads(decision.reason.to_json())])
    return json.dumps(["closed", *decision])
