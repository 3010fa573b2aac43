"""Computes the figures of a confusion matrix, and the calibration error. Pure; needs only numpy.

A figure that is undefined, such as the precision of a label that was never answered, is 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS: Final = 15
"""Number of bins of the calibration error."""

HEADLINE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "emotion": "accuracy",
        "goemotions": "macro_f1",
        "goemotions-sentiment": "macro_recall",
        "tweets-emotion": "accuracy",
        "tweets-sentiment": "macro_recall",
    }
)
"""The usual figure of each question of the data sets; a key of `FIGURES`."""


@dataclass(frozen=True)
class LabelScore:
    """Precision, recall and F1 of one label, and the number of texts with this label (`support`)."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def confusion_matrix(truth: NDArray[np.int64], answers: NDArray[np.int64], labels: int) -> NDArray[np.int64]:
    """Count the answers to the rows of each label.

    Args:
        truth: int64[rows], the index of each row's label.
        answers: int64[rows], the index of each row's answer.
        labels: Number of labels.

    Returns:
        int64[labels, labels]: rows are the truth, columns the answers.
    """
    return np.bincount(truth * labels + answers, minlength=labels * labels).reshape(labels, labels)


def label_scores(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[LabelScore, ...]:
    """Returns the scores of each label."""
    right, support, answered = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    precision, recall = _ratio(right, answered), _ratio(right, support)
    f1 = _ratio(2 * right, support + answered)
    return tuple(
        LabelScore(label, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, label in enumerate(labels)
    )


def accuracy(confusion: NDArray[np.int64]) -> float:
    """Returns the share of the rows that were answered correctly."""
    return float(_ratio(np.trace(confusion), confusion.sum()))


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Returns the mean F1 of the labels that occur in the truth or in the answers."""
    support, answered = confusion.sum(1), confusion.sum(0)
    f1 = _ratio(2 * np.diag(confusion), support + answered)
    return _mean(f1[(support + answered) > 0])


def macro_recall(confusion: NDArray[np.int64]) -> float:
    """Returns the mean recall of the labels that occur in the truth."""
    support = confusion.sum(1)
    return _mean(_ratio(np.diag(confusion), support)[support > 0])


FIGURES: Final[Mapping[str, Callable[[NDArray[np.int64]], float]]] = MappingProxyType(
    {"accuracy": accuracy, "macro_f1": macro_f1, "macro_recall": macro_recall}
)
"""The figures of a confusion matrix, by name."""


def calibration_error(probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Returns the expected calibration error (Guo et al. 2017), over 15 bins of equal width.

    It is the mean difference between confidence and accuracy in a bin, weighted by the rows of the bins.

    Args:
        probabilities: float32[rows, labels].
        truth: int64[rows].
    """
    if not len(truth):
        return 0.0
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(part / np.maximum(whole, 1), np.float64)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
