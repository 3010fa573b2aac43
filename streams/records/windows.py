"""The records of windows and of the running totals. Pure."""

from __future__ import annotations

from typing import Self

from msgspec import field

from streams.records.base import Record, members, parse, rename
from streams.records.values import Count
from streams.timestamps import Timestamp


class LabelStats(Record, frozen=True):
    """One label of a window: number of posts, their share of `count` in percent, and their mean confidence."""

    count: Count
    pct: float
    mean_confidence: float


class SentimentStats(Record, frozen=True):
    """The sentiment of the posts of a window that have one: number of posts per label, and mean score in -1..1."""

    labels: dict[str, Count]
    mean_sentiment: float


class EmotionWindow(Record, frozen=True, kw_only=True):
    """A tumbling window (`emotions.windows`, key = `keyword|size|start`, compacted).

    `size` is in seconds; `start` is inclusive, `end` exclusive. A later record of the same key has a higher
    `revision` and replaces the earlier one. `late` counts the posts that came after the window was final.

    `count` is the number of posts that have a label. `unsupported` counts the posts in languages that the model does
    not read, apart from them. `sources` and `languages` count both. Both numbers are 0 if a rebuild found no posts for
    the window. Records and posts of version 0.1 have no languages.
    """

    keyword: str
    size: Count
    start: Timestamp
    end: Timestamp
    count: Count
    unsupported: Count = 0
    labels: dict[str, LabelStats]
    sentiment: SentimentStats | None = None
    models: dict[str, Count]
    sources: dict[str, Count]
    languages: dict[str, Count] = field(default_factory=dict)
    first_event: Timestamp
    last_event: Timestamp
    revision: Count
    final: bool
    late: Count

    @property
    def key(self) -> str:
        """The record's Kafka key."""
        return f"{self.keyword}|{self.size}|{self.start.rfc3339()}"

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode and check a window; see `Record.from_json`.

        This also reads windows that version 0.1 published, which have other names for the means.
        """
        if b'"avg_score"' not in (value or b""):
            return super().from_json(value)
        window = members(parse(value))
        for stats in members(window.get("labels")).values():
            rename(stats, "avg_score", "mean_confidence")
        rename(window.get("sentiment"), "avg_score", "mean_sentiment")
        return cls.from_fields(window)


class KeywordTotals(Record, frozen=True):
    """One keyword of the running totals: number of posts, posts per label, and mean sentiment in -1..1.

    `mean_sentiment` is null if no post has a sentiment. `unsupported` counts, apart from `count`, the posts in
    languages that the model does not read.
    """

    count: Count
    labels: dict[str, Count]
    mean_sentiment: float | None = None
    unsupported: Count = 0


class EmotionTotals(Record, frozen=True, kw_only=True):
    """Running totals (`emotions.totals`, one record a second): the latest window of the longest size.

    While the worker that writes them is behind, it writes one record in ten seconds. `keywords` holds all posts
    together under `*`, and the hundred keywords with the most posts. `at` is when the worker read the totals.
    """

    at: Timestamp
    size: Count
    start: Timestamp
    end: Timestamp
    keywords: dict[str, KeywordTotals]

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode and check totals; see `Record.from_json`. This also reads those that version 0.1 published."""
        if b'"avg_sentiment"' not in (value or b""):
            return super().from_json(value)
        totals = members(parse(value))
        for keyword in members(totals.get("keywords")).values():
            rename(keyword, "avg_sentiment", "mean_sentiment")
        return cls.from_fields(totals)
