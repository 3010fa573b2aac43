"""Temperatures, and the weights and thresholds of a cascade: fitted on rows that were not trained on.

Pure; needs only numpy.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.training.data import NO_TARGET, SET_NAMES, Examples, Logits
from models.training.ensemble import log_softmax, softmax
from models.training.metrics import headline

# Candidate thresholds: none at all, then ever finer towards certainty.
_GRID = (0.0, *(np.round(np.arange(0.40, 0.90, 0.025), 3)), *(np.round(np.arange(0.90, 0.996, 0.005), 3)))


_TEMPERATURES = tuple(t / 100 for t in range(25, 401))
_WEIGHTS = tuple(w / 20 for w in range(21))


def fit_temperatures(logits: Logits, data: Examples) -> dict[str, float]:
    """For each head the temperature that makes the true labels most likely; changes no answer, only how sure it is.

    Data sets count alike, whatever their size, and each over the labels that it tells apart (Guo et al. 2017).

    Args:
        logits: For each head, float32[rows, labels].
        data: The rows, none of them trained on.

    Returns:
        Temperatures between 0.25 and 4, to two decimals, of the heads that the rows have labels for.
    """
    # One dimension and a smooth loss: looking everywhere is simpler than being clever.
    return {
        head: min(_TEMPERATURES, key=lambda t, groups=groups: _loss(groups, t))  # type: ignore[misc]
        for head, groups in _groups(logits, data).items()
    }


@dataclass(frozen=True)
class Pool:
    """How the last tier takes in what the first says: by head, its own temperature and the weight of the first."""

    temperatures: dict[str, float]
    weights: dict[str, float]

    def of(self, first: Logits, last: Logits) -> Logits:
        """The logits of the pool, from the first tier's calibrated logits and the last tier's at temperature one."""
        return {
            head: values / self.temperatures.get(head, 1.0) + self.weights.get(head, 0.0) * log_softmax(first[head])
            for head, values in last.items()
        }


def fit_pool(first: Logits, last: Logits, data: Examples) -> Pool:
    """For each head the temperature and the weight that make the true labels most likely, as in `fit_temperatures`.

    Args:
        first: The first tier's logits, divided by their temperatures.
        last: The last tier's logits.
        data: The rows, none of them trained on.

    Returns:
        Temperatures and weights, both in steps of a twentieth, of the heads that the rows have labels for.
    """
    before = {head: log_softmax(values) for head, values in first.items()}
    own, earlier = _groups(last, data), _groups(before, data)

    def loss(head: str, temperature: float, weight: float) -> float:
        pooled = [
            (of_last / temperature + weight * of_first, truth)
            for (of_last, truth), (of_first, _) in zip(own[head], earlier[head], strict=True)
        ]
        return _loss(pooled, 1.0)

    best = {
        head: min(itertools.product(_TEMPERATURES[::5], _WEIGHTS), key=lambda pair, head=head: loss(head, *pair))  # type: ignore[misc]
        for head in own
    }
    return Pool({head: pair[0] for head, pair in best.items()}, {head: pair[1] for head, pair in best.items()})


def calibrated_loss(logits: Logits, data: Examples) -> float:
    """The mean over heads of the cross-entropy at its best temperature.

    A far steadier judge of a network than its accuracy, which moves by whole rows; and one that, unlike the plain loss,
    does not hold it against a network that it is surer than it is right, since that is mended afterwards.
    """
    return float(np.mean([min(_loss(groups, t) for t in _TEMPERATURES) for groups in _groups(logits, data).values()]))


_Group = tuple[NDArray[np.float64], NDArray[np.float64]]


def _groups(logits: Logits, data: Examples) -> dict[str, list[_Group]]:
    """For each head and data set the logits of its labelled rows and their targets, over the labels it tells apart."""
    groups: dict[str, list[_Group]] = {}
    for index in range(len(SET_NAMES)):
        rows = np.flatnonzero((data.source == index) & (data.emotion.sum(1) > 0))
        if len(rows):
            at = np.ix_(rows, np.flatnonzero(data.emotion_mask[rows[0]]))
            group = (logits["emotion"][at].astype(np.float64), data.emotion[at].astype(np.float64))
            groups.setdefault("emotion", []).append(group)
        rows = np.flatnonzero((data.source == index) & (data.sentiment != NO_TARGET))
        if len(rows):
            truth = np.eye(logits["sentiment"].shape[1])[data.sentiment[rows]]
            groups.setdefault("sentiment", []).append((logits["sentiment"][rows].astype(np.float64), truth))
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
        first: The first tier's logits, divided by their temperatures.
        last: The last tier's, likewise, or those of the pool with the first.
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
