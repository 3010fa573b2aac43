"""The part of a classified post that the windows count. Pure."""

from __future__ import annotations

from typing import NamedTuple

from streams.records import ClassifiedPost, Origin

MICRO = 1_000_000
"""Confidences and scores are integers, in units of 1 / `MICRO`. A sum of integers does not depend on their order."""


class PostForCounting(NamedTuple):
    """The part of a classified post that the windows count. It is small, because a worker keeps many of them.

    Attributes:
        id: the post's id.
        source: the post's source.
        keywords: the post's keywords.
        event_ms: the post's `created_at`, in milliseconds since 1970.
        label: the predicted label.
        confidence: the confidence in the label, in millionths.
        sentiment: the predicted sentiment label; None if the model has no sentiment.
        score: the sentiment score, in millionths; 0 if the model has no sentiment.
        version: the version of the model.
        origin: the topic, partition and offset of the raw post.
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

    @property
    def memory(self) -> int:
        """About how many bytes this takes: its objects, an object for each keyword, and the keywords' characters."""
        return 700 + 60 * len(self.keywords) + sum(map(len, self.keywords))

    @classmethod
    def of(cls, post: ClassifiedPost) -> PostForCounting:
        """Returns the counted part of a classified post."""
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
