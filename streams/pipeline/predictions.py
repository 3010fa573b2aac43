"""Turns a model's probabilities into predictions: a label, its confidence, the scores, and the sentiment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.classifier import SENTIMENT, Classification, Classifier, Head
from streams.records import ClassifiedPost, ModelRef, Origin, Post, Sentiment, Timestamp

DECIMALS = 4
"""Decimals of a score: finer than the repeatability of the model, and a third of the bytes on the wire."""


class Prediction(NamedTuple):
    """What a model predicts for one text. `confidence` is `scores[label]`, exactly."""

    label: str
    confidence: float
    scores: dict[str, float]
    sentiment: Sentiment | None
    model: ModelRef


def sentiment_head(classifier: Classifier) -> Head | None:
    """The head that sentiment is read from; None if the model has none."""
    for head in classifier.heads:
        if head.name == SENTIMENT and head.values is not None:
            return head
    return None


def predict(classifier: Classifier, texts: Sequence[str]) -> list[Prediction]:
    """Classify texts, and read the predictions from the probabilities.

    Returns:
        One prediction per text, in order.

    Raises:
        ValueError: The number of answers differs from the number of texts, or `predictions` refuses them.
    """
    found = predictions(classifier, classifier.classify(texts))
    if len(found) != len(texts):
        raise ValueError(f"the model gave {len(found)} answers to {len(texts)} texts")
    return found


def predictions(classifier: Classifier, answers: Classification) -> list[Prediction]:
    """Read the predictions from the answers to a batch.

    The first head gives the label: the most probable one before rounding; of equal ones, the first.

    Returns:
        One prediction per text, in order; scores are rounded to `DECIMALS` decimals.

    Raises:
        ValueError: The shapes disagree with the heads, or a probability is not a finite number in 0..1.
    """
    first = classifier.heads[0]
    probabilities, rounded = _checked(first, answers)
    names = list(first.labels)
    models = [ModelRef(classifier.name, classifier.version, tier) for tier in answers.tier_names]
    return [
        Prediction(names[best], row[best], dict(zip(names, row, strict=True)), sentiment, models[tier])
        for best, row, sentiment, tier in zip(
            probabilities.argmax(axis=1).tolist(),
            rounded.tolist(),
            _sentiments(classifier, answers),
            answers.tiers.tolist(),
            strict=True,
        )
    ]


def classified_post(
    post: Post, prediction: Prediction, origin: Origin, *, classified_at: Timestamp, keep_text: bool
) -> ClassifiedPost:
    """Join a post and its prediction.

    Args:
        post: the raw post.
        prediction: the model's.
        origin: where the raw post is.
        classified_at: the present time.
        keep_text: whether the result has the post's text.
    """
    return ClassifiedPost(
        id=post.id,
        source=post.source,
        keywords=post.keywords,
        created_at=post.created_at,
        text=post.text if keep_text else None,
        lang=post.lang,
        author=post.author,
        url=post.url,
        label=prediction.label,
        confidence=prediction.confidence,
        scores=prediction.scores,
        sentiment=prediction.sentiment,
        model=prediction.model,
        origin=origin,
        classified_at=classified_at,
    )


def _sentiments(classifier: Classifier, answers: Classification) -> Sequence[Sentiment | None]:
    head = sentiment_head(classifier)
    if head is None or head.values is None:
        return [None] * len(answers)
    probabilities, _ = _checked(head, answers)
    # The rows sum to one only up to rounding, which must not lead out of the range of the values.
    means = _rounded((probabilities.astype(np.float64) @ np.array(head.values)).clip(-1.0, 1.0))
    return [
        Sentiment(head.labels[best], score)
        for best, score in zip(probabilities.argmax(axis=1).tolist(), means.tolist(), strict=True)
    ]


def _checked(head: Head, answers: Classification) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A head's probabilities, unchanged and rounded."""
    probabilities = answers.probabilities[head.name]
    if probabilities.shape != (len(answers), len(head.labels)):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for {len(answers)} texts and {len(head.labels)} labels"
        )
    rounded = _rounded(probabilities)
    if not np.all((rounded >= 0.0) & (rounded <= 1.0)):  # false for NaN as well
        raise ValueError("the model's probabilities are not numbers in 0..1")
    return probabilities, rounded


def _rounded(numbers: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    # In float64, so that a score prints as it was rounded: 0.1234 and not 0.12339999526739120. Adding zero turns -0.0
    # into 0.0.
    doubles: NDArray[np.float64] = numbers.astype(np.float64)
    return doubles.round(DECIMALS) + np.float64(0.0)
