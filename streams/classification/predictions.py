"""Turns a model's probabilities into predictions: the label, its confidence, the scores and the sentiment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.classifier import SENTIMENT, Classification, Classifier, Head
from models.text.language import Language
from streams.records import ClassifiedPost, ModelRef, Origin, Post, Sentiment, Timestamp

DECIMALS = 4
"""Decimals of a score. More would be finer than a model can repeat, and would make records three times as long."""


UNSUPPORTED_TIER = "unsupported"
"""The tier of a post whose language no model reads."""


class Prediction(NamedTuple):
    """What a model predicts for one text. `confidence` is exactly `scores[label]`."""

    label: str
    confidence: float
    scores: dict[str, float]
    sentiment: Sentiment | None
    model: ModelRef


def sentiment_head(classifier: Classifier) -> Head | None:
    """Returns the head that predicts sentiment; None if the model has none."""
    for head in classifier.heads:
        if head.name == SENTIMENT and head.values is not None:
            return head
    return None


def predict(classifier: Classifier, texts: Sequence[str]) -> list[Prediction]:
    """Classify texts.

    Returns:
        One prediction per text, in order.

    Raises:
        ValueError: The model classified another number of texts, or its probabilities are not valid; see `predictions`.
    """
    found = predictions(classifier, classifier.classify(texts))
    if len(found) != len(texts):
        raise ValueError(f"the model made {len(found)} predictions for {len(texts)} texts")
    return found


def predictions(classifier: Classifier, output: Classification) -> list[Prediction]:
    """Read the predictions from what a classifier returned for a batch of texts.

    The first head decides the label: the most probable one before rounding, and the first one of equals.

    Returns:
        One prediction per text, in order; scores are rounded to `DECIMALS` decimals.

    Raises:
        ValueError: The shapes disagree with the heads, or a probability is not a finite number in 0..1.
    """
    first = classifier.heads[0]
    probabilities, rounded = _checked(first, output)
    names = list(first.labels)
    models = [ModelRef(classifier.name, classifier.version, tier) for tier in output.tier_names]
    return [
        Prediction(names[best], row[best], dict(zip(names, row, strict=True)), sentiment, models[tier])
        for best, row, sentiment, tier in zip(
            probabilities.argmax(axis=1).tolist(),
            rounded.tolist(),
            _sentiments(classifier, output),
            output.tiers.tolist(),
            strict=True,
        )
    ]


def classified_post(
    post: Post,
    prediction: Prediction | ModelRef,
    language: Language,
    origin: Origin,
    *,
    classified_at: Timestamp,
    keep_text: bool,
) -> ClassifiedPost:
    """Returns the record of a post.

    Args:
        post: The post.
        prediction: The prediction; of an unsupported post, the main model, which does not read its language.
        language: The language of the post.
        origin: The raw post.
        classified_at: The time of the classification.
        keep_text: Whether the record has the post's text.
    """
    known = prediction if isinstance(prediction, Prediction) else None
    return ClassifiedPost(
        id=post.id,
        source=post.source,
        keywords=post.keywords,
        created_at=post.created_at,
        text=post.text if keep_text else None,
        lang=language.code,
        lang_confidence=round(language.confidence, DECIMALS),
        author=post.author,
        url=post.url,
        label=None if known is None else known.label,
        confidence=None if known is None else known.confidence,
        scores={} if known is None else known.scores,
        sentiment=None if known is None else known.sentiment,
        model=prediction if isinstance(prediction, ModelRef) else prediction.model,
        origin=origin,
        classified_at=classified_at,
        truncated=post.truncated,
    )


def _sentiments(classifier: Classifier, output: Classification) -> Sequence[Sentiment | None]:
    head = sentiment_head(classifier)
    if head is None or head.values is None:
        return [None] * len(output)
    probabilities, _ = _checked(head, output)
    # The probabilities of a text sum to 1 only up to rounding, so a mean could be slightly outside -1..1.
    means = _rounded((probabilities.astype(np.float64) @ np.array(head.values)).clip(-1.0, 1.0))
    return [
        Sentiment(head.labels[best], score)
        for best, score in zip(probabilities.argmax(axis=1).tolist(), means.tolist(), strict=True)
    ]


def _checked(head: Head, output: Classification) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Returns a head's probabilities, both as they are and rounded; shape (texts, labels).

    Raises:
        ValueError: The shape disagrees with the head, or a probability is not a finite number in 0..1.
    """
    probabilities = output.probabilities[head.name]
    if probabilities.shape != (len(output), len(head.labels)):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for {len(output)} texts and {len(head.labels)} labels"
        )
    rounded = _rounded(probabilities)
    if not np.all((rounded >= 0.0) & (rounded <= 1.0)):  # also false if a number is NaN
        raise ValueError("the model's probabilities are not numbers in 0..1")
    return probabilities, rounded


def _rounded(numbers: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    # In float64 a rounded score prints as 0.1234, in float32 as 0.12339999526739120. Adding zero turns -0.0 into 0.0.
    doubles: NDArray[np.float64] = numbers.astype(np.float64)
    return doubles.round(DECIMALS) + np.float64(0.0)
