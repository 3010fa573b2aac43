"""Turns a window's Redis hash into its record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from streams.records import EmotionWindow, LabelStats, SentimentStats, from_ms
from streams.windows.post import MICRO
from streams.windows.tumbling import WindowKey

_UNIT = 10_000

_FEW_FIELDS = 100

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

    Percentages and means are rounded to four decimals; labels are in alphabetical order. A window without posts, which
    a rebuild leaves in place of a wrong one, has its start for its first and last event.
    """
    count = int(row["n"])
    # A window of very many sources has names that no other window has, and would fill the cache with them.
    names = _names(frozenset(row)) if len(row) <= _FEW_FIELDS else _names.__wrapped__(frozenset(row))
    sentiment = None
    if names.sentiments:
        sentiments = {of_kind: int(row[name]) for of_kind, name in names.sentiments}
        sentiment = SentimentStats(sentiments, mean_sentiment(row, sum(sentiments.values())))
    return EmotionWindow(
        keyword=key.keyword,
        size=key.size,
        start=_timestamp(key.start),
        end=_timestamp(key.end),
        count=count,
        labels={label: _label_stats(row, label, int(row[name]), count) for label, name in names.labels},
        sentiment=sentiment,
        models={of_kind: int(row[name]) for of_kind, name in names.models},
        sources=top_sources({of_kind: int(row[name]) for of_kind, name in names.sources}),
        first_event=from_ms(int(row.get("first", key.start))),
        last_event=from_ms(int(row.get("last", key.start))),
        revision=int(row["rev"]),
        final=row.get("final") == "1",
        late=int(row.get("late", 0)),
    )


def _label_stats(row: Mapping[str, str], label: str, posts: int, count: int) -> LabelStats:
    confidence = int(row.get(f"c:{label}", 0))
    return LabelStats(posts, _rounded(100 * posts, count), _rounded(confidence, MICRO * posts))


def mean_sentiment(row: Mapping[str, str], posts: int) -> float:
    """The mean sentiment of a window, in -1..1, to four decimals; `posts` are those that have one, at least 1."""
    return _rounded(int(row.get("ts", 0)), MICRO * posts)


def _rounded(amount: int, total: int) -> float:
    """`amount / total` to four decimals, half up, and never -0.0. Exact, which `round` of a quotient is not."""
    return (2 * _UNIT * amount + total) // (2 * total) / _UNIT


_OfKind = tuple[tuple[str, str], ...]
"""What a window has posts of, and the field that counts them, in alphabetical order."""


class _Names(NamedTuple):
    """The fields of a window that count posts of a kind."""

    labels: _OfKind
    models: _OfKind
    sources: _OfKind
    sentiments: _OfKind


@lru_cache(256)
def _names(fields: frozenset[str]) -> _Names:
    """Sorted out by kind. Most windows have the same fields as many others."""
    by_kind: dict[str, list[tuple[str, str]]] = {kind: [] for kind in "lmst"}
    for name in sorted(fields):
        kind, colon, of_kind = name.partition(":")
        if colon and kind in by_kind:
            by_kind[kind].append((of_kind, name))
    return _Names(*(tuple(by_kind[kind]) for kind in "lmst"))


_timestamp = lru_cache(4_096)(from_ms)
"""Windows of one size share their bounds."""


def sum_rows(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The fields of several windows of one keyword as those of one: sums, but the range of times, `rev` and `final`."""
    if len(rows) == 1:
        return dict(rows[0])
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
