"""The records of windows and of the running totals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import msgspec

from streams.records.base import MalformedRecordError, Record, RecordError
from streams.timestamps import Timestamp


class LabelStats(Record, frozen=True):
    """One label of a window: number of posts, their share of the window in percent, and their mean confidence."""

    count: int
    pct: float
    mean_confidence: float


class SentimentStats(Record, frozen=True):
    """The sentiment of the posts of a window that have one: number of posts per label, and mean score in -1..1."""

    labels: dict[str, int]
    mean_sentiment: float


class EmotionWindow(Record, frozen=True, kw_only=True):
    """A tumbling window (`emotions.windows`, key = `keyword|size|start`, compacted).

    `size` is in seconds; `start` is inclusive, `end` exclusive. A later record of the same key has a higher
    `revision` and replaces the earlier one. `late` counts the posts that came after the window was final. `count` is 0
    if a rebuild found no posts for the window.
    """

    keyword: str
    size: int
    start: Timestamp
    end: Timestamp
    count: int
    labels: dict[str, LabelStats]
    sentiment: SentimentStats | None = None
    models: dict[str, int]
    sources: dict[str, int]
    first_event: Timestamp
    last_event: Timestamp
    revision: int
    final: bool
    late: int

    @property
    def key(self) -> str:
        """The record's Kafka key."""
        return f"{self.keyword}|{self.size}|{self.start.rfc3339()}"

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode and check a window; see `Record.from_json`.

        This also reads windows that version 0.1 published, which have other names for the means.
        """
        try:
            return super().from_json(value)
        except MalformedRecordError:
            raise
        except RecordError:
            if b'"avg_score"' not in (value or b""):
                raise
        return cls.from_fields(_renamed(msgspec.json.decode(value or b"")))


def _renamed(fields: object) -> Mapping[str, object]:
    """Returns the fields of a window of version 0.1 under their current names.

    Both means were called `avg_score`: the mean confidence of a label, and the mean sentiment.
    """
    if not isinstance(fields, dict):
        raise RecordError("is not a window")
    labels = fields.get("labels")
    for stats in labels.values() if isinstance(labels, dict) else ():
        if isinstance(stats, dict) and "avg_score" in stats:
            stats["mean_confidence"] = stats.pop("avg_score")
    sentiment = fields.get("sentiment")
    if isinstance(sentiment, dict) and "avg_score" in sentiment:
        sentiment["mean_sentiment"] = sentiment.pop("avg_score")
    return fields


class KeywordTotals(Record, frozen=True):
    """One keyword of the running totals: number of posts, posts per label, and mean sentiment in -1..1.

    `mean_sentiment` is null if no post has a sentiment.
    """

    count: int
    labels: dict[str, int]
    mean_sentiment: float | None = None


class EmotionTotals(Record, frozen=True, kw_only=True):
    """Running totals (`emotions.totals`, one record a second): the latest window of the longest size.

    While the worker that writes them is behind, it writes one record in ten seconds. `keywords` holds all posts
    together under `*`, and the hundred keywords with the most posts. `at` is when the worker read the totals.
    """

    at: Timestamp
    size: int
    start: Timestamp
    end: Timestamp
    keywords: dict[str, KeywordTotals]
