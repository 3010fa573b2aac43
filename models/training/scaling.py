"""Fits how logits become calibrated probabilities, on rows that were not trained on. Pure; needs only numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.data import NO_TARGET, Examples, Logits
from models.training.ensemble import log_softmax, softmax
from models.training.labels import SENTIMENTS

RIDGE: Final = 0.01
"""The default penalty of a bias of one, in nats per row; see `models.training.config.ScalingConfig`."""

_NEWTON_STEPS: Final = 50
_NEVER: Final = -1e9
_DECIMALS: Final = 3


@dataclass(frozen=True)
class Scaling:
    """How the logits of a tier become probabilities, with the fields of `models.package.manifest.Tier`.

    Attributes:
        temperatures: By head: the number that the logits are divided by.
        biases: By head: one number per label that is added after the division.
        weights: By head: the weight with which the logarithms of the previous tier's probabilities are added.
    """

    temperatures: dict[str, float]
    biases: dict[str, tuple[float, ...]]
    weights: dict[str, float]

    def of(self, logits: Logits, before: Logits | None = None) -> Logits:
        """Returns the scaled logits.

        Args:
            logits: The tier's logits.
            before: The scaled logits of the previous tier; None if there is none.
        """
        found = {}
        for head, values in logits.items():
            scaled = values / self.temperatures.get(head, 1.0) + np.array(self.biases.get(head, 0.0))
            if before is not None:
                scaled = scaled + self.weights.get(head, 0.0) * log_softmax(before[head])
            found[head] = scaled.astype(np.float32)
        return found


def fit_scaling(logits: Logits, data: Examples, before: Logits | None = None, *, ridge: float = RIDGE) -> Scaling:
    """Returns the temperatures, biases and weights that make the true labels most likely.

    Temperatures and biases are bias-corrected temperature scaling (Alexandari et al. 2020). Training gives rare labels
    a larger weight than their frequency, and the biases correct that. With a previous tier this is a logarithmic
    opinion pool (Genest and Zidek 1986). All rows have the same weight, and each counts over the labels that its data
    set distinguishes.

    Args:
        logits: For each head, float32[rows, labels].
        data: The rows, none of which was trained on.
        before: The scaled logits of the previous tier; None if there is none.
        ridge: Penalty of a bias of one, and of a factor that differs by one from its start, in nats per row. It keeps
            the bias of a label that hardly any row has at 0.

    Returns:
        Numbers with three decimals, for the heads that the rows have labels for. No weight is negative.
    """
    temperatures, biases, weights = {}, {}, {}
    for head, targets in targets_of(data).items():
        columns = [logits[head][targets.rows].astype(np.float64)]
        if before is not None:
            columns.append(log_softmax(before[head][targets.rows]).astype(np.float64))
        factors, bias = _most_likely(columns, targets, ridge)
        if min(factors[1:], default=0.0) < 0:
            # The loss is convex: if the best weight is negative, the best weight that is not negative is 0.
            factors, bias = _most_likely(columns[:1], targets, ridge)
        temperatures[head] = round(float(1 / np.clip(factors[0], 0.25, 4)), _DECIMALS)
        biases[head] = tuple(round(float(value), _DECIMALS) for value in bias)
        if before is not None:
            weights[head] = round(float(factors[1]), _DECIMALS) if len(factors) > 1 else 0.0
    return Scaling(temperatures, biases, weights)


@dataclass(frozen=True)
class Targets:
    """The rows that have a label for a head, and their labels.

    Attributes:
        rows: int64[n], positions of the rows in the table.
        mask: bool[n, labels], the labels that the row's data set distinguishes.
        truth: float64[n, labels], distributions over these labels.
    """

    rows: NDArray[np.int64]
    mask: NDArray[np.bool_]
    truth: NDArray[np.float64]


def targets_of(data: Examples) -> dict[str, Targets]:
    """Returns the targets of each head for which some row has a label."""
    emotion = np.flatnonzero(data.emotion.sum(1) > 0)
    sentiment = np.flatnonzero(data.sentiment != NO_TARGET)
    one_hot = np.eye(len(SENTIMENTS))[data.sentiment[sentiment]]
    found = {
        "emotion": Targets(emotion, data.emotion_mask[emotion], data.emotion[emotion].astype(np.float64)),
        "sentiment": Targets(sentiment, np.ones(one_hot.shape, np.bool_), one_hot),
    }
    return {head: targets for head, targets in found.items() if len(targets.rows)}


def _most_likely(
    columns: Sequence[NDArray[np.float64]], targets: Targets, ridge: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the factors of some logits, and the biases of their sum, with the smallest mean cross-entropy.

    The loss is convex; it is minimised by Newton's method with step halving.

    Args:
        columns: The logits to combine, each float64[rows, labels].
        targets: The labels of the rows.
        ridge: See `fit_scaling`.

    Returns:
        (factors, float64[columns]; biases, float64[labels]).
    """
    mask, truth = targets.mask, targets.truth
    rows, labels = truth.shape
    # The model is linear: the feature of a factor is its column of logits, that of a bias is 1 at its label.
    one_at_label = np.broadcast_to(np.eye(labels), (rows, labels, labels))
    features = np.concatenate([np.stack(columns, axis=-1), one_at_label], axis=-1)
    start = np.zeros(features.shape[-1])
    start[0] = 1.0

    def probabilities(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return softmax(np.where(mask, features @ at, _NEVER))

    def loss(at: NDArray[np.float64]) -> float:
        likely = np.log(np.maximum(probabilities(at), np.finfo(np.float64).tiny))
        return float(-(truth * likely).sum() / rows + ridge * ((at - start) ** 2).sum())

    found = start
    for _ in range(_NEWTON_STEPS):
        p = probabilities(found)
        gradient = np.einsum("rl,rlf->f", p - truth, features) / rows + 2 * ridge * (found - start)
        mean = np.einsum("rl,rlf->rf", p, features)
        curvature = np.einsum("rl,rlf,rlg->fg", p, features, features, optimize=True) - mean.T @ mean
        step = np.linalg.solve(curvature / rows + 2 * ridge * np.eye(len(found)), gradient)
        while loss(found - step) > loss(found) and np.abs(step).max() > 1e-9:
            step /= 2
        found = found - step
        if np.abs(step).max() < 1e-6:
            break
    return found[: len(columns)], found[len(columns) :]
