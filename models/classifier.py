"""The classifier protocol: it takes texts and returns probabilities. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Probabilities = dict[str, NDArray[np.float32]]
"""For each head by name, float32[texts, labels]. Each row sums to one."""

ONLY_TIER = "full"
"""The tier's name in a classifier without a cascade, which answers every text."""

ALL_LANGUAGES = "*"
"""Stands for all languages, as in the language ranges of RFC 4647."""

SENTIMENT = "sentiment"
"""The name of the head that gives a text its sentiment, if the head's labels have values."""


class Head(Protocol):
    """One question that a classifier answers: which of the head's labels fits a text."""

    @property
    def name(self) -> str:
        """The head's name, which is the key in `Classification.probabilities`."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of the probabilities."""
        ...

    @property
    def values(self) -> tuple[float, ...] | None:
        """The value of each label, from -1 to 1, if the head gives a score; else None."""
        ...


@dataclass(frozen=True)
class Classification:
    """The answers to some texts, in the order of the texts.

    Attributes:
        probabilities: For each head by name, float32[texts, labels]. Each row sums to one.
        tiers: intp[texts], the index of the tier that answered each text.
        tier_names: The names of the tiers, in the order of their indices.
    """

    probabilities: Probabilities
    tiers: NDArray[np.intp]
    tier_names: tuple[str, ...] = (ONLY_TIER,)

    def __len__(self) -> int:
        """Returns the number of texts."""
        return len(self.tiers)


class Classifier(Protocol):
    """A model as the streams use it. Thread-safe."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def version(self) -> str:
        """The model's version."""
        ...

    @property
    def heads(self) -> Sequence[Head]:
        """The questions that the model answers, at least one. The first head gives a text its label."""
        ...

    @property
    def languages(self) -> Sequence[str]:
        """The languages that the model reads, as subtags of BCP 47; `ALL_LANGUAGES` alone if it reads all."""
        ...

    def classify(self, texts: Sequence[str]) -> Classification:
        """Classify any number of texts. The classifier normalises the texts itself."""
        ...
