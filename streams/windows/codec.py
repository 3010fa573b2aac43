"""Turns a window's Redis hash into its record. Pure.

The fields of the hash:

    n                     number of posts
    u                     number of posts without a label, because the model does not read their language
    l:LABEL, c:LABEL      number of posts with this label, and the sum of their confidences in millionths
    m:VERSION             number of posts by the version of the model that gave them their label
    s:SOURCE, g:LANGUAGE  number of posts by source, and by language
    t:LABEL, ts           number of posts by sentiment label, and the sum of their sentiment scores in millionths
    first, last           first and last event time, in ms since 1970
    rev                   revision
    final, late           1 if the window is final, and the number of posts counted after that
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from streams.records import EmotionWindow, LabelStats, SentimentStats, from_ms
from streams.windows.post import MICRO
from streams.windows.tumbling import WindowKey

UNIT = 10_000
"""Percentages and means are rounded to multiples of 1 / `UNIT`."""

_CACHED_FIELDS = 100
"""The most fields of a window whose names are cached."""

MAX_SOURCES = 100
"""The most sources that a record names.

Producers may write any number of sources, and a record must stay far below Kafka's limit."""

OTHERS = "(other)"
"""The name under which a record counts the posts of all further sources, or of all further languages."""

MAX_LANGUAGES = 30
"""The most languages that a record names."""


def top_sources(sources: Mapping[str, int]) -> dict[str, int]:
    """Returns the `MAX_SOURCES` sources with the most posts, and the sum of the others under `OTHERS`."""
    return _top(sources, MAX_SOURCES)


def top_languages(languages: Mapping[str, int]) -> dict[str, int]:
    """Returns the `MAX_LANGUAGES` languages with the most posts, and the sum of the others under `OTHERS`."""
    return _top(languages, MAX_LANGUAGES)


def _top(counts: Mapping[str, int], most: int) -> dict[str, int]:
    if len(counts) <= most:
        return dict(counts)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {**dict(ranked[:most]), OTHERS: sum(count for _, count in ranked[most:])}


def labelled(row: Mapping[str, str]) -> int:
    """Returns the number of posts of a window that have a label."""
    return int(row["n"]) - int(row.get("u", 0))


def to_window(key: WindowKey, row: Mapping[str, str]) -> EmotionWindow:
    """Returns the record of a window; `row` is its hash.

    Percentages and means are rounded to four decimals. Labels, models, sources and languages are in alphabetical
    order. A window that a rebuild emptied has no first and last event; its record has the window's start instead.
    """
    count = labelled(row)
    names = field_names(row)
    sentiment = None
    if names.sentiments:
        sentiments = {label: int(row[name]) for label, name in names.sentiments}
        sentiment = SentimentStats(sentiments, mean_sentiment(row, sum(sentiments.values())))
    return EmotionWindow(
        keyword=key.keyword,
        size=key.size,
        start=_timestamp(key.start),
        end=_timestamp(key.end),
        count=count,
        unsupported=int(row.get("u", 0)),
        labels={label: _label_stats(row, label, int(row[name]), count) for label, name in names.labels},
        sentiment=sentiment,
        models={version: int(row[name]) for version, name in names.models},
        sources=top_sources({source: int(row[name]) for source, name in names.sources}),
        languages=top_languages({language: int(row[name]) for language, name in names.languages}),
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
    """Returns the mean sentiment of a window in -1..1, to four decimals. `posts`, at least 1, is how many have one."""
    return _rounded(int(row.get("ts", 0)), MICRO * posts)


def in_units(amount: int, total: int) -> int:
    """Returns `amount / total` in units of 1 / `UNIT`, rounded half up.

    It computes with integers. `round` of a quotient would be inexact.
    """
    return (2 * UNIT * amount + total) // (2 * total)


def _rounded(amount: int, total: int) -> float:
    """Returns `amount / total` to four decimals, rounded half up, and never -0.0."""
    return in_units(amount, total) / UNIT


_Counted = tuple[tuple[str, str], ...]
"""Pairs such as ("joy", "l:joy"): a value, and the field that counts its posts. In alphabetical order."""


class FieldNames(NamedTuple):
    """The fields of a window that count posts by label, model, source, sentiment and language."""

    labels: _Counted
    models: _Counted
    sources: _Counted
    sentiments: _Counted
    languages: _Counted


def field_names(row: Mapping[str, object]) -> FieldNames:
    """Returns the fields of a window that count posts by label, model, source, sentiment and language."""
    # A window with very many sources shares its field names with no other window, and would only fill the cache.
    return _names(frozenset(row)) if len(row) <= _CACHED_FIELDS else _names.__wrapped__(frozenset(row))


_KINDS = "lmstg"
"""The first letters of the fields in `FieldNames`."""


@lru_cache(256)
def _names(fields: frozenset[str]) -> FieldNames:
    """Sort the fields of a window by kind. It is cached, because many windows have the same fields."""
    by_kind: dict[str, list[tuple[str, str]]] = {kind: [] for kind in _KINDS}
    for name in sorted(fields):
        kind, colon, value = name.partition(":")
        if colon and kind in by_kind:
            by_kind[kind].append((value, name))
    return FieldNames(*(tuple(by_kind[kind]) for kind in _KINDS))


_timestamp = lru_cache(4_096)(from_ms)
"""It is cached, because windows of one size share their bounds."""


def sum_rows(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Returns the fields of several windows of one keyword, summed as if they were one window.

    `first` is the earliest, `last` the latest, `rev` the highest; `final` is 1 if all windows are final.
    """
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
