"""What the windows need of a classified post. Pure."""

from __future__ import annotations

from typing import NamedTuple

from streams.records import ClassifiedPost, Origin

MICRO = 1_000_000
"""Fixed-point unit of confidences and scores: sums of integers do not depend on the order of addition."""


class PostForCounting(NamedTuple):
    """A classified post without what no window counts. The worker keeps many of these while Redis is slow.

    Attributes:
        id: of the post.
        source: of the post.
        keywords: of the post.
        event_ms: `created_at`, in milliseconds since 1970.
        label: the predicted label.
        confidence: in the label, in millionths.
        sentiment: the sentiment's label; None without one.
        score: of the sentiment, in millionths; 0 without one.
        version: of the model.
        origin: where the raw post is.
    """

    id: str
    source: str
    keywords: tuple[str, ...]
    event_ms: int
    label: str
    confidence: int
    sentiment: str | None
    score: int
    version: str
    origin: Origin

    @classmethod
    def of(cls, post: ClassifiedPost) -> PostForCounting:
        """The part of a classified post that is counted."""
        sentiment = post.sentiment
        return cls(
            post.id,
            post.source,
            post.keywords,
            post.created_at.ms,
            post.label,
            round(post.confidence * MICRO),
            None if sentiment is None else sentiment.label,
            0 if sentiment is None else round(sentiment.score * MICRO),
            post.model.version,
            post.origin,
        )
