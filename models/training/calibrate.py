"""Judges the probabilities of a network and chooses the thresholds of a cascade, on rows that were not trained on.

Pure; needs only numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.training.data import SET_NAMES, Examples, Logits
from models.training.ensemble import softmax
from models.training.metrics import headline
from models.training.scaling import targets_of

# Candidate thresholds: none, then more and more closely spaced towards 1.
_GRID = (0.0, *(np.round(np.arange(0.40, 0.90, 0.025), 3)), *(np.round(np.arange(0.90, 0.996, 0.005), 3)))


_TEMPERATURES = tuple(t / 100 for t in range(25, 401))


def calibrated_loss(logits: Logits, data: Examples) -> float:
    """Returns the mean over heads of the cross-entropy at its best temperature.

    This judges a network more steadily than its accuracy, which changes in steps of one row. Unlike the plain loss it
    does not punish a network for being too sure, because calibration corrects that afterwards. All data sets have the
    same weight, whatever their size.
    """
    return float(np.mean([min(_loss(groups, t) for t in _TEMPERATURES) for groups in _groups(logits, data).values()]))


_Group = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Logits and targets of the labelled rows of one data set, each float64[rows, labels that the set distinguishes]."""


def _groups(logits: Logits, data: Examples) -> dict[str, list[_Group]]:
    """Returns for each head the groups of the data sets that have labels for it."""
    groups: dict[str, list[_Group]] = {}
    for head, targets in targets_of(data).items():
        source = data.source[targets.rows]
        for index in np.unique(source):
            at = np.flatnonzero(source == index)
            known = np.flatnonzero(targets.mask[at[0]])
            values = logits[head][np.ix_(targets.rows[at], known)].astype(np.float64)
            groups.setdefault(head, []).append((values, targets.truth[np.ix_(at, known)]))
    return groups


def _loss(groups: Sequence[_Group], temperature: float) -> float:
    return float(np.mean([_cross_entropy(values / temperature, truth) for values, truth in groups]))


@dataclass(frozen=True)
class ChosenThresholds:
    """The thresholds of the first tier, and their effect on the rows on which they were chosen.

    Attributes:
        thresholds: The thresholds by head.
        answered: Share of the rows that the first tier answers: the mean over data sets.
        disagreement: Share of the first tier's answers that differ from the last tier's, in the worse head.
        first: The figures of the first tier alone, by data set.
        last: The figures of the last tier alone.
        both: The figures of the cascade.
    """

    thresholds: dict[str, float]
    answered: float
    disagreement: float
    first: dict[str, float]
    last: dict[str, float]
    both: dict[str, float]


def choose_thresholds(
    first: Logits, last: Logits, data: Examples, *, max_loss: float, max_disagreement: float
) -> ChosenThresholds | None:
    """Choose the thresholds with which the first tier answers most posts within the bounds.

    Args:
        first: The scaled logits of the first tier.
        last: The scaled logits of the last tier, which may include the first tier's probabilities.
        data: The rows, none of which was trained on.
        max_loss: Greatest allowed drop of any data set's figure (see `headline`) below that of the last tier alone.
        max_disagreement: Greatest allowed share of the first tier's answers that differ from the last tier's, per head.

    Returns:
        The best thresholds; None if no thresholds keep the bounds and answer any row.
    """
    sure = {head: softmax(values).max(1) for head, values in first.items()}
    same = {head: first[head].argmax(1) == last[head].argmax(1) for head in first}
    alone = headline(last, data)
    best: ChosenThresholds | None = None
    for emotion in _GRID:
        for sentiment in _GRID:
            passed = (sure["emotion"] >= emotion) & (sure["sentiment"] >= sentiment)
            # The mean over data sets, so that a large one does not decide alone.
            answered = _by_set(passed, data)
            if not passed.any() or (best is not None and answered <= best.answered):
                continue
            wrong = max(float((~same[head][passed]).mean()) for head in same)
            if wrong > max_disagreement:
                continue
            both = headline(mixed(first, last, passed), data)
            if all(both[name] >= alone[name] - max_loss for name in alone):
                thresholds = {"emotion": float(emotion), "sentiment": float(sentiment)}
                best = ChosenThresholds(thresholds, answered, wrong, headline(first, data), alone, both)
    return best


def mixed(first: Logits, last: Logits, passed: NDArray[np.bool_]) -> Logits:
    """Returns the first tier's logits for the rows that passed, and the last tier's for the others."""
    return {head: np.where(passed[:, None], first[head], last[head]) for head in last}


def _by_set(passed: NDArray[np.bool_], data: Examples) -> float:
    shares: Sequence[float] = [
        float(passed[data.source == i].mean()) for i in range(len(SET_NAMES)) if (data.source == i).any()
    ]
    return float(np.mean(shares))


def _cross_entropy(logits: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - (shifted * truth).sum(1)).mean())
