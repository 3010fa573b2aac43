"""Averages the probabilities of several teachers, each for the posts of the data sets that it learnt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.text.onnx_classifier import SMALLEST
from models.training.data import SET_NAMES, Examples, Logits


@dataclass(frozen=True)
class TeacherAnswers:
    """The answers of one teacher.

    Attributes:
        logits: Its logits for all rows.
        sets: The data sets that it learnt. Its logits for the rows of other sets are not used.
    """

    logits: Logits
    sets: tuple[str, ...]

    @property
    def general(self) -> bool:
        """Whether the teacher learnt every data set."""
        return set(self.sets) == set(SET_NAMES)


def combine(answers: Sequence[TeacherAnswers], data: Examples) -> Logits:
    """Average the answers of teachers.

    A general teacher learnt every data set, a specialist only some. For the posts of a specialist's data set, and among
    the emotions that this set distinguishes, only the specialists decide how probable each emotion is, because adding a
    general teacher lowers the accuracy. The total probability of these emotions is that of the general teachers, as are
    all other answers.

    Args:
        answers: The teachers' answers, at least one of a general teacher.
        data: The rows that the answers are about.

    Returns:
        The logarithms of the mean probabilities: for each head, float32[rows, labels].

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
    """Remove the effect of label smoothing from a network's answers.

    A network that was trained with label smoothing answers (1 - smoothing) q + smoothing / labels instead of q (Szegedy
    et al. 2016), over the labels that a post's data set distinguishes. A student that learns these answers learns the
    added uncertainty too. No temperature removes it, and the student's confidences would be lower than its accuracy.

    Args:
        logits: The network's logits for all rows.
        data: The rows.
        smoothing: The label smoothing of the network's training.

    Returns:
        The logarithms of q. The total probability of the labels that a data set distinguishes does not change.
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
    """Returns the logarithms of the probabilities along the last axis, which are at least `SMALLEST` as when served."""
    return np.log(np.maximum(softmax(logits), SMALLEST)).astype(np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the probabilities along the last axis, in double precision."""
    shifted: NDArray[np.float64] = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shifted /= shifted.sum(-1, keepdims=True)
    return shifted
