"""Arithmetic of the measurements: percentiles, medians with their spread. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A figure that was measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def percentiles(values: Sequence[float], wanted: Sequence[float] = (50, 95, 99)) -> tuple[float, ...]:
    """Percentiles of at least one value, interpolated linearly."""
    return tuple(float(found) for found in np.percentile(values, wanted))


def ratios(rounds: Mapping[int, float], reference: Mapping[int, float]) -> Spread | None:
    """A figure to another's, round by round, so that what else the machine did falls on both.

    None where they have no round in common.
    """
    common = [rounds[number] / reference[number] for number in rounds if number in reference]
    return Spread.of(common) if common else None
