"""The part of a classified post that the windows count. Pure."""

from __future__ import annotations

from typing import NamedTuple

from streams.records import ClassifiedPost, Origin

MICRO = 1_000_000
"""Confidences and scores are integers, in units of 1 / `MICRO`. A sum of integers does not depend on their order."""


OTHER_LANGUAGES = "mis"
"""ISO 639's code for languages without a code. Windows count under it every language without a code of two letters.

A source may state any of 8,000 codes, and a window must not have a field for each."""

_LONGER = frozenset({"und", OTHER_LANGUAGES})


def counted_language(code: str) -> str:
    """Returns the language under which windows count a post: one of at most 678."""
    two_letters = len(code) == 2 and code.isascii() and code.isalpha() and code.islower()
    return code if two_letters or code in _LONGER else OTHER_LANGUAGES


class PostForCounting(NamedTuple):
    """The part of a classified post that the windows count. It is small, because a worker keeps many of them.

    Attributes:
        id: the post's id.
        source: the post's source.
        keywords: the post's keywords.
        event_ms: the post's `created_at`, in milliseconds since 1970.
        label: the predicted label; None if the model does not read the post's language.
        confidence: the confidence in the label, in millionths; 0 without a label.
        sentiment: the predicted sentiment label; None if the model has no sentiment.
        score: the sentiment score, in millionths; 0 if the model has no sentiment.
        version: the version of the model.
        origin: the topic, partition and offset of the raw post.
        lang: the language that the windows count, one of some hundred; None if version 0.1 classified the post.
    """

    id: str
    source: str
    keywords: tuple[str, ...]
    event_ms: int
    label: str | None
    confidence: int
    sentiment: str | None
    score: int
    version: str
    origin: Origin
    lang: str | None = None

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
            0 if post.confidence is None else round(post.confidence * MICRO),
            None if sentiment is None else sentiment.label,
            0 if sentiment is None else round(sentiment.score * MICRO),
            post.model.version,
            post.origin,
            None if post.lang is None or post.lang_confidence is None else counted_language(post.lang),
        )
