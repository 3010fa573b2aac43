"""Turns a head's probabilities into a label, its confidence and the scores. Pure; needs only numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DECIMALS = 4
"""Digits of a score after the point: finer than the model's own repeatability, and a third of the bytes on the wire."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a head says about one text. `confidence` is `scores[label]`, exactly."""

    label: str
    confidence: float
    scores: dict[str, float]


def verdicts(probabilities: NDArray[np.float32], labels: Sequence[str]) -> list[Verdict]:
    """Read the verdicts off a batch of probabilities.

    The label is the most probable one before rounding; between equals, the first.

    Args:
        probabilities: float32[n, len(labels)], each row summing to one.
        labels: the names of the columns.

    Returns:
        n verdicts, in order; their scores are rounded to `DECIMALS` digits.

    Raises:
        ValueError: if the shapes disagree, or a probability is not a finite number in 0..1.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != len(labels):
        raise ValueError(f"probabilities of shape {probabilities.shape} for {len(labels)} labels")
    # In float64, so that a score prints as it was rounded: 0.1234 and not 0.12339999526739120.
    rounded = np.round(probabilities.astype(np.float64), DECIMALS)
    if not np.all((rounded >= 0.0) & (rounded <= 1.0)):  # false for NaN as well
        raise ValueError("the model's probabilities are not numbers in 0..1")
    names = list(labels)
    return [
        Verdict(names[best], row[best], dict(zip(names, row, strict=True)))
        for best, row in zip(probabilities.argmax(axis=1).tolist(), rounded.tolist(), strict=True)
    ]
