"""The loss of a batch for all heads: of the labels, of the teachers' answers, or of both.

The loss of a text is the sum over heads of

    (1 - distillation) * weight * cross-entropy with the label, over the labels that its data set distinguishes
    + distillation * Kullback-Leibler divergence from the teachers' distribution (Hinton et al. 2015)

A text without a label has only the second term.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.training.config import Recipe
from models.training.data import NO_TARGET, SET_NAMES, Examples, Logits
from models.training.network import HEADS

_NEVER = -1e4
"""The logit of a label that the data set does not distinguish. It is not infinity, because 0 times infinity is NaN."""


class Loss:
    """The loss of rows of one table."""

    def __init__(self, data: Examples, recipe: Recipe, teacher: Logits | None = None) -> None:
        """Prepare the targets.

        Args:
            data: The rows.
            recipe: The parameters; label smoothing, balance and distillation are used.
            teacher: The teachers' logits for `data`, row by row. Without them only the labels count.
        """
        sentiment = (
            np.eye(HEADS["sentiment"], dtype=np.float32)[data.sentiment] * (data.sentiment != NO_TARGET)[:, None]
        )
        targets = {"emotion": data.emotion, "sentiment": sentiment}
        masks = {"emotion": data.emotion_mask, "sentiment": np.ones(sentiment.shape, np.bool_)}
        self._targets = {
            head: torch.tensor(smoothed(target, masks[head], recipe.label_smoothing))
            for head, target in targets.items()
        }
        self._masks = {head: torch.tensor(mask) for head, mask in masks.items()}
        self._weights = {
            head: torch.tensor(row_weights(target, data.source, recipe.balance)) for head, target in targets.items()
        }
        self._teacher = {head: torch.tensor(values) for head, values in (teacher or {}).items()}
        self._share = recipe.distillation if teacher else 0.0
        self._temperature = recipe.distillation_temperature

    def __call__(self, logits: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        """Returns the mean loss of a batch.

        Args:
            logits: For each head, float32[batch, labels].
            rows: int64[batch], positions of the texts in the table.
        """
        loss = torch.zeros(())
        for head, values in logits.items():
            loss = loss + (1 - self._share) * self._hard(head, values, rows)
            if self._share:
                loss = loss + self._share * self._soft(head, values, rows)
        return loss

    def _hard(self, head: str, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        masked = logits.masked_fill(~self._masks[head][rows], _NEVER)
        each = -(self._targets[head][rows] * functional.log_softmax(masked, 1)).sum(1)
        return (each * self._weights[head][rows]).sum() / len(rows)

    def _soft(self, head: str, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        t = self._temperature
        target = functional.log_softmax(self._teacher[head][rows] / t, 1)
        given = functional.log_softmax(logits / t, 1)
        # The factor t² keeps the gradients of the two terms in proportion (Hinton et al. 2015).
        return t * t * functional.kl_div(given, target, reduction="batchmean", log_target=True)


def smoothed(target: NDArray[np.float32], mask: NDArray[np.bool_], smoothing: float) -> NDArray[np.float32]:
    """Returns targets with a share of the probability spread evenly over the mask's labels. Rows of zeros stay."""
    even = mask / np.maximum(mask.sum(1, keepdims=True), 1)
    labelled = target.sum(1, keepdims=True) > 0
    spread: NDArray[np.float64] = labelled * ((1 - smoothing) * target + smoothing * even)
    return spread.astype(np.float32)


def row_weights(
    target: NDArray[np.float32], source: NDArray[np.int64], balance: Mapping[str, float]
) -> NDArray[np.float32]:
    """Returns the weight of each row: the share of its label to the power of -balance, scaled to a mean of 1.

    Args:
        target: float32[rows, labels], distributions or zeros.
        source: int64[rows], the data set of each row.
        balance: By data set: with 0, the default, all texts have the same weight; with 1 all labels have.

    Returns:
        float32[rows].
    """
    weights = np.ones(len(target), np.float32)
    for index, name in enumerate(SET_NAMES):
        rows = np.flatnonzero((source == index) & (target.sum(1) > 0))
        if not len(rows):
            continue
        share = target[rows].mean(0)
        of_label = np.where(share > 0, np.maximum(share, 1e-9) ** -balance.get(name, 0.0), 0.0)
        of_row = target[rows] @ of_label
        weights[rows] = of_row / of_row.mean()
    return weights
