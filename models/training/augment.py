"""More texts to distil on: posts with some words left out and some exchanged (as Jiao et al. 2020, by chance alone).

The teachers say what such a text means, so it needs no label; and having never seen it, they say it less surely than
of a post they learnt. A student that only hears of the posts themselves hears little more than their labels.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from models.training.data import NO_TARGET, SET_NAMES, Examples, concatenate

_LEFT_OUT: Final = 0.5
"""Of the words that are touched, the share that is left out; the others give way to a word of another post."""


def augmented(data: Examples, copies: Mapping[str, int], share: float, seed: int) -> Examples:
    """All rows, and after them altered copies of those of some data sets, without labels.

    Args:
        data: The rows.
        copies: By data set: how many of each of its rows.
        share: Of the words of a copy, how many are left out or exchanged, on average.
        seed: Decides which.

    Returns:
        The rows of `data` as they are and in their order, then the copies. A copy keeps the mask and the source of its
        row, which say whom to ask about it; its emotions are zeros and its sentiment `NO_TARGET`.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible copies, not a secret
    parts = [data]
    for name in [name for name in SET_NAMES if copies.get(name)]:
        rows = data.of(name)
        words = [text.split() for text in rows.texts]
        # Each word as often as posts use it.
        all_words = [word for text in words for word in text]
        for _ in range(copies[name]):
            texts = tuple(" ".join(_altered(text, all_words, share, rng)) for text in words)
            parts.append(
                Examples(
                    texts,
                    np.zeros_like(rows.emotion),
                    rows.emotion_mask,
                    np.full_like(rows.sentiment, NO_TARGET),
                    np.full_like(rows.source, SET_NAMES.index(name)),
                )
            )
    return concatenate(parts)


def _altered(words: Sequence[str], others: Sequence[str], share: float, rng: random.Random) -> list[str]:
    kept = []
    for word in words:
        chance = rng.random()
        if chance >= share:
            kept.append(word)
        elif chance >= share * _LEFT_OUT:
            kept.append(rng.choice(others))
    return kept or list(words)
