"""The figures that training reports, computed from logits: one number for each data set."""

import numpy as np
from numpy.typing import NDArray

from models.training.data import NO_TARGET, SET_NAMES, Examples, Logits
from models.training.labels import EMOTIONS, SENTIMENTS
from models.training.scores import FIGURES, HEADLINE, confusion_matrix


def headline(logits: Logits, data: Examples) -> dict[str, float]:
    """Returns the usual figure of each data set.

    Args:
        logits: For each head, float32[rows, labels].
        data: The rows.

    Returns:
        By data set, the figure named in `HEADLINE`, among the labels that the set distinguishes, on the posts whose own
        labels map onto exactly one of them. A set without rows is left out.
    """
    found = {}
    for name in ("emotion", "goemotions", "tweets-emotion"):
        rows = single_emotion(data, name)
        if len(rows):
            answers = np.where(data.emotion_mask[rows], logits["emotion"][rows], -np.inf).argmax(1)
            confusion = confusion_matrix(data.emotion[rows].argmax(1), answers, len(EMOTIONS))
            found[name] = FIGURES[HEADLINE[name]](confusion)
    name = "tweets-sentiment"
    rows = with_sentiment(data, name)
    if len(rows):
        answers = logits["sentiment"][rows].argmax(1)
        found[name] = FIGURES[HEADLINE[name]](confusion_matrix(data.sentiment[rows], answers, len(SENTIMENTS)))
    return found


def single_emotion(data: Examples, name: str) -> NDArray[np.int64]:
    """Returns the positions of a data set's rows that have exactly one emotion."""
    return np.flatnonzero((data.source == SET_NAMES.index(name)) & (data.emotion.max(1) == 1))


def with_sentiment(data: Examples, name: str) -> NDArray[np.int64]:
    """Returns the positions of a data set's rows that have a sentiment."""
    return np.flatnonzero((data.source == SET_NAMES.index(name)) & (data.sentiment != NO_TARGET))
