"""Turns a window's Redis hash into its record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.records import EmotionWindow, LabelStats, SentimentStats, from_ms
from streams.windows.counted import MICRO
from streams.windows.tumbling import WindowKey

MAX_SOURCES = 100
OTHER_SOURCES = "(other)"
"""A record names the sources with most posts; the rest is one entry. Sources are whatever producers write, and a record
must stay far below Kafka's limit."""


def top_sources(sources: Mapping[str, int]) -> dict[str, int]:
    """The `MAX_SOURCES` sources with most posts, and the sum of the others under `OTHER_SOURCES`."""
    if len(sources) <= MAX_SOURCES:
        return dict(sources)
    ranked = sorted(sources.items(), key=lambda item: (-item[1], item[0]))
    return {**dict(ranked[:MAX_SOURCES]), OTHER_SOURCES: sum(count for _, count in ranked[MAX_SOURCES:])}


def to_window(key: WindowKey, row: Mapping[str, str]) -> EmotionWindow:
    """The record of a window; `row` has the fields that `deltas.WindowDelta` and `lua/apply.lua` write.

    Percentages and means are rounded to four decimals; labels are in alphabetical order. A window without posts,
    which a rebuild leaves where there was a false one, has its start for its first and last event.
    """
    count = int(row["n"])
    by_kind: dict[str, dict[str, int]] = {kind: {} for kind in "lcmst"}
    for name, value in sorted(row.items()):
        kind, separator, label = name.partition(":")
        if separator and kind in by_kind:
            by_kind[kind][label] = int(value)
    labels = {
        label: LabelStats(
            count=posts,
            pct=round(100 * posts / count, 4),
            avg_score=round(by_kind["c"].get(label, 0) / MICRO / posts, 4),
        )
        for label, posts in by_kind["l"].items()
    }
    sentiment = None
    if by_kind["t"]:
        scored = sum(by_kind["t"].values())
        mean = round(int(row.get("ts", 0)) / MICRO / scored, 4)
        sentiment = SentimentStats(labels=by_kind["t"], avg_score=mean or 0.0)  # not -0.0
    return EmotionWindow(
        keyword=key.keyword,
        size=key.size,
        start=from_ms(key.start),
        end=from_ms(key.end),
        count=count,
        labels=labels,
        sentiment=sentiment,
        models=by_kind["m"],
        sources=top_sources(by_kind["s"]),
        first_event=from_ms(int(row.get("first", key.start))),
        last_event=from_ms(int(row.get("last", key.start))),
        revision=int(row["rev"]),
        final=row.get("final") == "1",
        late=int(row.get("late", 0)),
    )


def sum_rows(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The fields of several windows of one keyword as those of one: sums, but the range of times, `rev` and `final`."""
    sums: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            sums[name] = sums.get(name, 0) + int(value)
    ranges = {
        "first": min(int(row["first"]) for row in rows),
        "last": max(int(row["last"]) for row in rows),
        "rev": max(int(row["rev"]) for row in rows),
        "final": int(all(row.get("final") == "1" for row in rows)),
    }
    return {name: str(value) for name, value in {**sums, **ranges}.items()}
