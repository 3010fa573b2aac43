"""Several teachers as one: the mean of their probabilities, each asked only about posts of the data sets it learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.text.onnx_classifier import SMALLEST
from models.training.data import SET_NAMES, Examples, Logits


@dataclass(frozen=True)
class TeacherAnswers:
    """What one teacher says of all rows, and of which data sets' posts it is to be heard."""

    logits: Logits
    sets: tuple[str, ...]

    @property
    def general(self) -> bool:
        """Whether it learnt every data set."""
        return set(self.sets) == set(SET_NAMES)


def combine(answers: Sequence[TeacherAnswers], data: Examples) -> Logits:
    """Average teachers.

    A specialist learnt some of the data sets only. How the emotions that these tell apart compare in their posts, the
    specialists say alone: they know better, and a general teacher's word beside theirs costs accuracy. The general
    teachers' share of all those emotions together stays as it is, and all other answers are theirs.

    Args:
        answers: At least one of all data sets.
        data: The rows that the answers are about.

    Returns:
        Logarithms of the mean probabilities: for each head, float32[rows, labels].

    Raises:
        ValueError: No teacher learnt every data set.
    """
    general = [one for one in answers if one.general]
    if not general:
        raise ValueError("no teacher learns every data set")
    mean = {head: np.mean([softmax(o.logits[head]) for o in general], axis=0) for head in general[0].logits}
    for index, name in enumerate(SET_NAMES):
        special = [o for o in answers if not o.general and name in o.sets]
        rows = np.flatnonzero((data.source == index) & data.emotion_mask.any(1))
        if not special or not len(rows):
            continue
        at = np.ix_(rows, np.flatnonzero(data.emotion_mask[rows[0]]))
        share = mean["emotion"][at].sum(1, keepdims=True)
        mean["emotion"][at] = np.mean([softmax(o.logits["emotion"][at]) for o in special], axis=0) * share
    return {head: np.log(np.maximum(p, SMALLEST)).astype(np.float32) for head, p in mean.items()}


def unsmoothed(logits: Logits, data: Examples, smoothing: float) -> Logits:
    """What a network that learnt smoothed labels would say had they not been.

    It learnt to say (1 - smoothing) q + smoothing / labels where q is meant (Szegedy et al. 2016), over the labels that
    a post's data set tells apart. Distilled as it is, that doubt about everything would be learnt too: no temperature
    undoes it, and confidences would pile up below the share of them that is right.

    Args:
        logits: What it says of all rows.
        data: The rows.
        smoothing: The label smoothing it learnt with.

    Returns:
        Logarithms of q. The share of all labels that a data set tells apart together stays as it is.
    """
    found = {}
    for head, values in logits.items():
        p = softmax(values)
        known = np.ones(p.shape, np.bool_)
        if head == "emotion":
            known = np.where(data.emotion_mask.any(1, keepdims=True), data.emotion_mask, known)
        share = (p * known).sum(1, keepdims=True)
        q = np.maximum(p / share - smoothing / known.sum(1, keepdims=True), SMALLEST)
        q *= share / (q * known).sum(1, keepdims=True)
        found[head] = np.log(np.where(known, q, np.maximum(p, SMALLEST))).astype(np.float32)
    return found


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithms of the probabilities along the last axis; none below that of `SMALLEST`, as they are served."""
    return np.log(np.maximum(softmax(logits), SMALLEST)).astype(np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities along the last axis, in double precision."""
    shifted: NDArray[np.float64] = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shifted /= shifted.sum(-1, keepdims=True)
    return shifted
