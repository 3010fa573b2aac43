"""What the records become in Postgres: for each table, the columns of its staging table and a record's row. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectors.errors import ConnectorError
from streams.records import ClassifiedPost, EmotionWindow

Row = tuple[object, ...]

POST_COLUMNS = (
    "origin_topic",
    "origin_partition",
    "origin_offset",
    "id",
    "source",
    "keywords",
    "created_at",
    "text",
    "lang",
    "author",
    "url",
    "label",
    "confidence",
    "scores",
    "sentiment_label",
    "sentiment_score",
    "model_name",
    "model_version",
    "model_tier",
    "classified_at",
)
WINDOW_COLUMNS = (
    "keyword",
    "size_s",
    "start_at",
    "end_at",
    "posts",
    "sentiment_score",
    "models",
    "sources",
    "first_event",
    "last_event",
    "late",
    "final",
    "revision",
)
LABEL_COLUMNS = ("keyword", "size_s", "start_at", "label", "posts", "percent", "avg_score")
SENTIMENT_COLUMNS = ("keyword", "size_s", "start_at", "label", "posts", "percent")


def post_row(post: ClassifiedPost) -> Row:
    """A row of `posts`, in the order of `POST_COLUMNS`."""
    return (
        post.origin.topic,
        post.origin.partition,
        post.origin.offset,
        post.id,
        post.source,
        list(post.keywords),
        post.created_at,
        post.text,
        post.lang,
        post.author,
        post.url,
        post.label,
        post.confidence,
        json.dumps(post.scores),
        post.sentiment and post.sentiment.label,
        post.sentiment and post.sentiment.score,
        post.model.name,
        post.model.version,
        post.model.tier,
        post.classified_at,
    )


def window_row(window: EmotionWindow) -> Row:
    """A row of `emotion_windows`, in the order of `WINDOW_COLUMNS`."""
    return (
        window.keyword,
        window.size,
        window.start,
        window.end,
        window.count,
        window.sentiment and window.sentiment.avg_score,
        json.dumps(window.models),
        json.dumps(window.sources),
        window.first_event,
        window.last_event,
        window.late,
        window.final,
        window.revision,
    )


def label_rows(window: EmotionWindow) -> list[Row]:
    """A window's rows of `emotion_window_labels`, in the order of `LABEL_COLUMNS`."""
    return [
        (window.keyword, window.size, window.start, label, stats.count, stats.pct, stats.avg_score)
        for label, stats in window.labels.items()
    ]


def sentiment_rows(window: EmotionWindow) -> list[Row]:
    """A window's rows of `emotion_window_sentiments`, in the order of `SENTIMENT_COLUMNS`; none without sentiment."""
    counts = {} if window.sentiment is None else window.sentiment.labels
    scored = sum(counts.values())
    return [
        (window.keyword, window.size, window.start, label, count, round(100 * count / scored, 4))
        for label, count in counts.items()
    ]


def latest_windows(windows: Iterable[EmotionWindow]) -> list[EmotionWindow]:
    """Of each window the record with the highest revision: one statement may touch a row once."""
    latest: dict[str, EmotionWindow] = {}
    for window in windows:
        known = latest.get(window.key)
        if known is None or window.revision > known.revision:
            latest[window.key] = window
    return list(latest.values())


def distinct_posts(posts: Iterable[ClassifiedPost]) -> list[ClassifiedPost]:
    """Each origin once: classify delivers some posts twice, and the first delivery is the one the windows count."""
    first: dict[tuple[int, int], ClassifiedPost] = {}
    for post in posts:
        first.setdefault((post.origin.partition, post.origin.offset), post)
    return list(first.values())


class OffsetMoved(ConnectorError):  # noqa: N818 - the cure is a rewind
    """Postgres does not stand where this batch continues: another sink took over, or the database was restored."""


@dataclass(frozen=True)
class Span:
    """A range of offsets of one partition, [start, end), and how many records it held."""

    partition: int
    start: int
    end: int
    records: int


def check_stands(topic: str, stored: dict[int, int], spans: Sequence[Span]) -> None:
    """The compare of the compare-and-set.

    Raises:
        OffsetMoved: a partition stands elsewhere.
    """
    for span in spans:
        if stored.get(span.partition) != span.start:
            raise OffsetMoved(
                f"{topic}[{span.partition}] stands at {stored.get(span.partition)} in PostgreSQL, not at {span.start}"
            )
