"""Several teachers as one: the mean of their probabilities."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.training.data import Logits

# Below this a probability is rounding; its logarithm would only be a large number.
_SMALLEST = 1e-6


def average(opinions: Sequence[Logits]) -> Logits:
    """Logarithms of the mean probabilities of at least one teacher, for each head float32[rows, labels]."""
    return {
        head: np.log(np.maximum(np.mean([softmax(logits[head]) for logits in opinions], axis=0), _SMALLEST)).astype(
            np.float32
        )
        for head in opinions[0]
    }


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities along the last axis, in double precision."""
    shifted: NDArray[np.float64] = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shifted /= shifted.sum(-1, keepdims=True)
    return shifted
