"""Sums up the classified posts of a fetch. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from streams.classification.predictions import Prediction
from streams.classification.texts import Failed, TextResult
from streams.query.sums import LabelSum, Sums


def sums_of(answers: Iterable[TextResult]) -> Sums:
    """Returns the sums over answers. Those that are `Failed` are in none of them."""
    labels: dict[str, LabelSum] = {}
    sentiments: dict[str, int] = {}
    score, unsupported = 0.0, 0
    for _, found in answers:
        if isinstance(found, Failed):
            continue
        if not isinstance(found, Prediction):
            unsupported += 1
            continue
        posts, confidence = labels.get(found.label, LabelSum(0, 0.0))
        labels[found.label] = LabelSum(posts + 1, confidence + found.confidence)
        if found.sentiment is not None:
            sentiments[found.sentiment.label] = sentiments.get(found.sentiment.label, 0) + 1
            score += found.sentiment.score
    return Sums(labels, sentiments, score, unsupported)
