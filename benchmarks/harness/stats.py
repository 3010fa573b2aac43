"""Arithmetic on measurements: percentiles, medians and ratios. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """The median, smallest and largest of several measurements of a figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Returns the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def percentiles(values: Sequence[float], wanted: Sequence[float] = (50, 95, 99)) -> tuple[float, ...]:
    """Returns percentiles of at least one value, interpolated linearly."""
    return tuple(float(found) for found in np.percentile(values, wanted))


def ratios(rounds: Mapping[int, float], reference: Mapping[int, float]) -> Spread | None:
    """Returns the spread of the ratios of two figures, one ratio for each round that both have.

    Load on the machine affects both figures of a round, and so hardly their ratio.

    Args:
        rounds: The figure by number of the round.
        reference: The figure that it is divided by, by number of the round.

    Returns:
        None if the two have no round in common.
    """
    common = [rounds[number] / reference[number] for number in rounds if number in reference]
    return Spread.of(common) if common else None
