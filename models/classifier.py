"""Texts in, probabilities out: what the streams need of a model, whatever it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.package.manifest import Manifest

Probabilities = dict[str, NDArray[np.float32]]
"""For each head by name, float32[texts, labels]; each row sums to one."""


@dataclass(frozen=True)
class Classification:
    """The answers to some texts, in their order.

    Attributes:
        probabilities: for each head by name, float32[texts, labels]; each row sums to one.
        tiers: intp[texts]; which of the manifest's tiers answered each text.
    """

    probabilities: Probabilities
    tiers: NDArray[np.intp]

    def __len__(self) -> int:
        """How many texts were answered."""
        return len(self.tiers)


class Classifier(Protocol):
    """What the stream needs of a model. Safe to call from several threads."""

    @property
    def manifest(self) -> Manifest:
        """What the model is: its name, version, heads, labels and tiers."""
        ...

    def classify(self, texts: Sequence[str]) -> Classification:
        """Classify any number of raw posts; normalisation is the classifier's business."""
        ...
