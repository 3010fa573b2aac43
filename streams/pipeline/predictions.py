"""Turns a model's probabilities into what a record says: a label, its confidence, the scores, sentiment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classification
from models.package.manifest import SENTIMENT, Head, Manifest
from streams.records import ModelFields, SentimentFields

DECIMALS = 4
"""Digits of a score after the point: finer than the model's own repeatability, and a third of the bytes on the wire."""


class Verdict(NamedTuple):
    """What a model says about one text. `confidence` is `scores[label]`, exactly."""

    label: str
    confidence: float
    scores: dict[str, float]
    sentiment: SentimentFields | None
    model: ModelFields


def sentiment_head(manifest: Manifest) -> Head | None:
    """The head that sentiment is read from; None where the model has none."""
    for head in manifest.heads:
        if head.name == SENTIMENT and head.values is not None:
            return head
    return None


def verdicts(manifest: Manifest, answers: Classification) -> list[Verdict]:
    """Read the verdicts off the answers to a batch.

    The manifest's first head gives the label: the most probable one before rounding; between equals, the first.

    Returns:
        A verdict for each text, in order; scores are rounded to `DECIMALS` digits.

    Raises:
        ValueError: The shapes disagree with the manifest, or a probability is not a finite number in 0..1.
    """
    first = manifest.heads[0]
    probabilities, rounded = _checked(first, answers)
    names = list(first.labels)
    models: list[ModelFields] = [
        {"name": manifest.name, "version": manifest.version, "tier": tier.name} for tier in manifest.tiers
    ]
    return [
        Verdict(names[best], row[best], dict(zip(names, row, strict=True)), sentiment, models[tier])
        for best, row, sentiment, tier in zip(
            probabilities.argmax(axis=1).tolist(),
            rounded.tolist(),
            _sentiments(manifest, answers),
            answers.tiers.tolist(),
            strict=True,
        )
    ]


def _sentiments(manifest: Manifest, answers: Classification) -> Sequence[SentimentFields | None]:
    head = sentiment_head(manifest)
    if head is None or head.values is None:
        return [None] * len(answers)
    probabilities, _ = _checked(head, answers)
    # The rows sum to one but for rounding, which must not lead out of the values' range.
    means = _rounded((probabilities.astype(np.float64) @ np.array(head.values)).clip(-1.0, 1.0))
    return [
        {"label": head.labels[best], "score": score}
        for best, score in zip(probabilities.argmax(axis=1).tolist(), means.tolist(), strict=True)
    ]


def _checked(head: Head, answers: Classification) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A head's probabilities as they came, and rounded."""
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
