"""How good probabilities are, and the thresholds of a cascade: on rows that were not trained on.

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

# Candidate thresholds: none at all, then ever finer towards certainty.
_GRID = (0.0, *(np.round(np.arange(0.40, 0.90, 0.025), 3)), *(np.round(np.arange(0.90, 0.996, 0.005), 3)))


_TEMPERATURES = tuple(t / 100 for t in range(25, 401))


def calibrated_loss(logits: Logits, data: Examples) -> float:
    """The mean over heads of the cross-entropy at its best temperature.

    A far steadier judge of a network than its accuracy, which moves by whole rows; and one that, unlike the plain loss,
    does not hold it against a network that it is surer than it is right, since that is mended afterwards. Data sets
    count alike, whatever their size.
    """
    return float(np.mean([min(_loss(groups, t) for t in _TEMPERATURES) for groups in _groups(logits, data).values()]))


_Group = tuple[NDArray[np.float64], NDArray[np.float64]]


def _groups(logits: Logits, data: Examples) -> dict[str, list[_Group]]:
    """For each head and data set the logits of its labelled rows and their targets, over the labels it tells apart."""
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
class Gate:
    """Thresholds by head, and what they do on the rows they were chosen on."""

    thresholds: dict[str, float]
    answered: float
    disagreement: float
    first: dict[str, float]
    last: dict[str, float]
    both: dict[str, float]


def choose_gate(
    first: Logits, last: Logits, data: Examples, *, max_loss: float, max_disagreement: float
) -> Gate | None:
    """The thresholds with which the first tier answers most posts at next to no loss.

    Args:
        first: The first tier's logits, scaled.
        last: The last tier's, likewise, which may hold what the first says too.
        data: The rows, none of them trained on.
        max_loss: How much any data set's figure (see `headline`) may fall below the last tier's alone.
        max_disagreement: Share of the first tier's answers that may differ from the last tier's, for each head.

    Returns:
        The best gate; None where no thresholds keep the bounds and answer anything.
    """
    sure = {head: softmax(values).max(1) for head, values in first.items()}
    same = {head: first[head].argmax(1) == last[head].argmax(1) for head in first}
    alone = headline(last, data)
    best: Gate | None = None
    for emotion in _GRID:
        for sentiment in _GRID:
            passed = (sure["emotion"] >= emotion) & (sure["sentiment"] >= sentiment)
            # The mean over data sets: a large one must not decide alone.
            answered = _by_set(passed, data)
            if not passed.any() or (best is not None and answered <= best.answered):
                continue
            wrong = max(float((~same[head][passed]).mean()) for head in same)
            if wrong > max_disagreement:
                continue
            both = headline(mixed(first, last, passed), data)
            if all(both[name] >= alone[name] - max_loss for name in alone):
                thresholds = {"emotion": float(emotion), "sentiment": float(sentiment)}
                best = Gate(thresholds, answered, wrong, headline(first, data), alone, both)
    return best


def mixed(first: Logits, last: Logits, passed: NDArray[np.bool_]) -> Logits:
    """The first tier's logits where it answered, the last tier's elsewhere."""
    return {head: np.where(passed[:, None], first[head], last[head]) for head in last}


def _by_set(passed: NDArray[np.bool_], data: Examples) -> float:
    shares: Sequence[float] = [
        float(passed[data.source == i].mean()) for i in range(len(SET_NAMES)) if (data.source == i).any()
    ]
    return float(np.mean(shares))


def _cross_entropy(logits: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - (shifted * truth).sum(1)).mean())
