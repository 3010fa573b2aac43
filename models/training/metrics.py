"""What training is judged by, on logits: one number for each data set."""

import numpy as np
from numpy.typing import NDArray

from models.training.data import NO_TARGET, SET_NAMES, Examples, Logits
from models.training.labels import EMOTIONS, SENTIMENTS
from models.training.scores import accuracy, confusion_matrix, macro_f1, macro_recall


def headline(logits: Logits, data: Examples) -> dict[str, float]:
    """The figure that each data set is commonly judged by.

    Args:
        logits: For each head, float32[rows, labels].
        data: The rows.

    Returns:
        By data set: accuracy over its six labels for `emotion`; macro-F1 over all eight for `goemotions`, on the posts
        whose labels map onto a single one; accuracy over its three for `tweets-emotion`; macro-recall for
        `tweets-sentiment`. A set without rows is left out.
    """
    figures = {}
    for name in ("emotion", "goemotions", "tweets-emotion"):
        rows = single_emotion(data, name)
        if len(rows):
            answers = np.where(data.emotion_mask[rows], logits["emotion"][rows], -np.inf).argmax(1)
            confusion = confusion_matrix(data.emotion[rows].argmax(1), answers, len(EMOTIONS))
            figures[name] = macro_f1(confusion) if name == "goemotions" else accuracy(confusion)
    rows = with_sentiment(data, "tweets-sentiment")
    if len(rows):
        answers = logits["sentiment"][rows].argmax(1)
        figures["tweets-sentiment"] = macro_recall(confusion_matrix(data.sentiment[rows], answers, len(SENTIMENTS)))
    return figures


def single_emotion(data: Examples, name: str) -> NDArray[np.int64]:
    """The rows of a data set that have exactly one emotion."""
    return np.flatnonzero((data.source == SET_NAMES.index(name)) & (data.emotion.max(1) == 1))


def with_sentiment(data: Examples, name: str) -> NDArray[np.int64]:
    """The rows of a data set that have a sentiment."""
    return np.flatnonzero((data.source == SET_NAMES.index(name)) & (data.sentiment != NO_TARGET))
