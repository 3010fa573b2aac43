"""What a classifier is: texts in, probabilities out, whatever it is made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Probabilities = dict[str, NDArray[np.float32]]
"""For each head by name, float32[texts, labels]; each row sums to one."""

ONLY_TIER = "full"
"""The tier that answers every text of a classifier without a cascade."""

SENTIMENT = "sentiment"
"""The head that a text's sentiment is read from, if it has values."""


class Head(Protocol):
    """One question that a classifier answers: which of these labels."""

    @property
    def name(self) -> str:
        """The head's name; the key in `Classification.probabilities`."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of the probabilities."""
        ...

    @property
    def values(self) -> tuple[float, ...] | None:
        """What each label is worth, in -1..1, for heads whose answer has a score; None for others."""
        ...


@dataclass(frozen=True)
class Classification:
    """The answers to some texts, in their order.

    Attributes:
        probabilities: for each head by name, float32[texts, labels]; each row sums to one.
        tiers: intp[texts]; the index of the tier that answered each text.
        tier_names: the names of the tiers, in the order of their indices.
    """

    probabilities: Probabilities
    tiers: NDArray[np.intp]
    tier_names: tuple[str, ...] = (ONLY_TIER,)

    def __len__(self) -> int:
        """The number of texts that were answered."""
        return len(self.tiers)


class Classifier(Protocol):
    """What a stream needs of a model. Safe to call from several threads."""

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
        """The questions that the model answers, at least one; the first gives a text's label."""
        ...

    def classify(self, texts: Sequence[str]) -> Classification:
        """Classify any number of texts as they were written; normalisation is the classifier's task."""
        ...
