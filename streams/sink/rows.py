"""The rows of records in Postgres: the columns of each table with their types, and functions that make rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from streams.records import ClassifiedPost, EmotionWindow

Row = tuple[object, ...]
Columns = Mapping[str, str]
"""The names of columns, with their types for COPY in binary form."""

POST_COLUMNS: Columns = {
    "origin_topic": "text",
    "origin_partition": "int4",
    "origin_offset": "int8",
    "id": "text",
    "source": "text",
    "keywords": "text[]",
    "created_at": "timestamptz",
    "text": "text",
    "lang": "text",
    "author": "text",
    "url": "text",
    "label": "text",
    "confidence": "float8",
    "scores": "jsonb",
    "sentiment_label": "text",
    "sentiment_score": "float8",
    "model_name": "text",
    "model_version": "text",
    "model_tier": "text",
    "classified_at": "timestamptz",
    "lang_confidence": "float8",
}
WINDOW_COLUMNS: Columns = {
    "keyword": "text",
    "size_s": "int4",
    "start_at": "timestamptz",
    "end_at": "timestamptz",
    "posts": "int8",
    "mean_sentiment": "float8",
    "models": "jsonb",
    "sources": "jsonb",
    "first_event": "timestamptz",
    "last_event": "timestamptz",
    "late": "int8",
    "final": "bool",
    "revision": "int8",
    "unsupported": "int8",
    "languages": "jsonb",
}
SENTIMENT_COLUMNS: Columns = {
    "keyword": "text",
    "size_s": "int4",
    "start_at": "timestamptz",
    "label": "text",
    "posts": "int8",
    "percent": "float8",
}
LABEL_COLUMNS: Columns = {**SENTIMENT_COLUMNS, "mean_confidence": "float8"}


class PostRow(NamedTuple):
    """A row of `posts`, in the order of `POST_COLUMNS`."""

    origin_topic: str
    origin_partition: int
    origin_offset: int
    id: str
    source: str
    keywords: list[str]
    created_at: datetime
    text: str | None
    lang: str | None
    author: str | None
    url: str | None
    label: str | None
    confidence: float | None
    scores: dict[str, float]
    sentiment_label: str | None
    sentiment_score: float | None
    model_name: str
    model_version: str
    model_tier: str
    classified_at: datetime
    lang_confidence: float | None = None


def post_row(post: ClassifiedPost) -> PostRow:
    """Returns the row of a classified post."""
    origin, model, sentiment = post.origin, post.model, post.sentiment
    return PostRow(
        origin.topic,
        origin.partition,
        origin.offset,
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
        post.scores,
        None if sentiment is None else sentiment.label,
        None if sentiment is None else sentiment.score,
        model.name,
        model.version,
        model.tier,
        post.classified_at,
        post.lang_confidence,
    )


def distinct_rows(rows: Iterable[PostRow]) -> list[PostRow]:
    """Returns one row for each origin.

    The classify stage may deliver a post twice. The first delivery is kept, because the windows count that one.
    """
    first: dict[tuple[int, int], PostRow] = {}
    for row in rows:
        first.setdefault((row.origin_partition, row.origin_offset), row)
    return list(first.values())


def window_row(window: EmotionWindow) -> Row:
    """Returns the row of a window in `emotion_windows`, in the order of `WINDOW_COLUMNS`."""
    return (
        window.keyword,
        window.size,
        window.start,
        window.end,
        window.count,
        window.sentiment and window.sentiment.mean_sentiment,
        window.models,
        window.sources,
        window.first_event,
        window.last_event,
        window.late,
        window.final,
        window.revision,
        window.unsupported,
        window.languages,
    )


def label_rows(window: EmotionWindow) -> list[Row]:
    """Returns the rows of a window in `emotion_window_labels`, in the order of `LABEL_COLUMNS`."""
    return [
        (window.keyword, window.size, window.start, label, stats.count, stats.pct, stats.mean_confidence)
        for label, stats in window.labels.items()
    ]


def sentiment_rows(window: EmotionWindow) -> list[Row]:
    """Returns the rows of a window in `emotion_window_sentiments`, in the order of `SENTIMENT_COLUMNS`.

    A window without sentiments has none.
    """
    counts = {} if window.sentiment is None else window.sentiment.labels
    scored = sum(counts.values())
    return [
        (window.keyword, window.size, window.start, label, count, round(100 * count / scored, 4))
        for label, count in counts.items()
    ]


def latest_windows(windows: Iterable[EmotionWindow]) -> list[EmotionWindow]:
    """Returns the record with the highest revision of each window: a statement may upsert a row only once."""
    latest: dict[str, EmotionWindow] = {}
    for window in windows:
        known = latest.get(window.key)
        if known is None or window.revision > known.revision:
            latest[window.key] = window
    return list(latest.values())
