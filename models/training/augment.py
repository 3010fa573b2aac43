"""Makes altered copies of posts for distillation: some words are left out, some are replaced.

This follows Jiao et al. (2020), but a word is replaced by a random word of another post. The teachers answer the
copies, so a copy needs no label. The teachers have learnt the labels of the posts themselves, so their answers to these
say little more than the labels. Their answers to the copies are less sure and say more.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from models.training.data import NO_TARGET, SET_NAMES, Examples, concatenate

_LEFT_OUT: Final = 0.5
"""Share of the altered words that is left out. The others are replaced by a word of another post."""


def augmented(data: Examples, copies: Mapping[str, int], share: float, seed: int) -> Examples:
    """Returns all rows, followed by altered copies of the rows of some data sets, without labels.

    Args:
        data: The rows.
        copies: By data set: number of copies of each row.
        share: Mean share of a copy's words that are left out or replaced.
        seed: Seed of the random choices.

    Returns:
        The rows of `data`, unchanged and in their order, then the copies. A copy has the mask and the source of its
        row, which decide the teachers that answer it. Its emotions are zeros and its sentiment is `NO_TARGET`.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible copies, not a secret
    parts = [data]
    for name in [name for name in SET_NAMES if copies.get(name)]:
        rows = data.of(name)
        words = [text.split() for text in rows.texts]
        # Each word is here as often as posts use it, so that frequent words are chosen more often.
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
