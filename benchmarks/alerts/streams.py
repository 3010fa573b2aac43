"""Synthetic windows with a daily and a weekly rhythm, and changes at a known time. Pure, and seeded.

The number of posts of a window is Poisson around a rate. The rate is the keyword's mean, times its rhythm, times
random factors of mean 1 that are drawn for each five minutes, each hour and each day. These factors have gamma
distributions, so the counts are negative binomial. The labels of a window's posts are Dirichlet-multinomial around the
keyword's mix, of which one label has a daily rhythm of its own.

    history (28 days)          | evaluated
    |--------------------------|----------------|------
                               0             onset
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

LABELS = ("neutral", "joy", "sadness", "anger", "fear", "love", "surprise", "disgust")
WATCHED = "anger"
"""The label whose share changes, and whose share is watched."""

SHARE = 0.10
"""The usual share of the watched label."""

HISTORY_DAYS = 28
PART_S = 300
"""Seconds of the parts in which posts are drawn. Longer windows are added up from them, so that streams of all sizes
have the same noise."""

MONDAY_MS = 1_767_571_200_000
"""2026-01-05T00:00:00Z, the start of the history of every stream."""

HOUR_MS = 3_600_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Noise:
    """How much a stream varies beside its rhythm.

    Attributes:
        part: Coefficient of variation of the rate between five minutes.
        hour: The same between hours, for the parts of an hour together.
        day: The same between days.
        mix: Concentration of the Dirichlet distribution of the mix of five minutes; 0 for no variation.
    """

    part: float = 0.0
    hour: float = 0.0
    day: float = 0.0
    mix: float = 0.0


NOISES = {
    "poisson": Noise(),
    "bursty": Noise(part=0.2, hour=0.1, mix=200.0),
    "restless": Noise(part=0.2, hour=0.2, day=0.15, mix=100.0),
}


class Kind(StrEnum):
    """What happens to a stream at its onset."""

    NOTHING = "stationary"
    STEP_SHARE = "step of the share, 10 to 25 %"
    RISE_SHARE = "rise of the share, 10 to 25 % in 12 h"
    STEP_VOLUME = "step of the volume, doubled"
    RISE_VOLUME = "rise of the volume, tripled in 12 h"
    BURST = "burst of one author, 10 minutes"
    HOLES = "missing hours of one keyword"
    OUTAGE = "outage of everything, 6 h"


LASTS_H = {Kind.STEP_SHARE: 24, Kind.RISE_SHARE: 24, Kind.STEP_VOLUME: 24, Kind.RISE_VOLUME: 24, Kind.BURST: 1}
"""Hours after the onset in which an alarm counts as the detection of a change."""


@dataclass(frozen=True)
class Stream:
    """The windows of one keyword.

    Attributes:
        keyword: The keyword.
        size_s: Size of the windows in seconds.
        counts: Posts of each window, shape (windows,). A window without posts does not exist in the system.
        labels: Posts of each window with each of `LABELS`, shape (windows, labels).
        counted: Whether the system counted other posts in the window's time, shape (windows,). False in an outage.
        per_hour: Posts an hour on average.
        kind: What happens.
        onset: The window of the onset; the number of windows if nothing happens.
        first: The first window that is evaluated. Those before are the history.
    """

    keyword: str
    size_s: int
    counts: Ints
    labels: Ints
    counted: npt.NDArray[np.bool_]
    per_hour: float
    kind: Kind
    onset: int
    first: int

    def start_ms(self, window: int) -> int:
        """Returns the start of a window in milliseconds."""
        return MONDAY_MS + window * self.size_s * 1_000

    @property
    def share(self) -> Floats:
        """Percent of the watched label in each window; NaN for a window without posts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return 100.0 * self.labels[:, LABELS.index(WATCHED)] / self.counts


def make(
    kind: Kind,
    per_hour: Sequence[float],
    *,
    seed: int,
    size_s: int = 300,
    days: int = 28,
    noise: Noise = NOISES["bursty"],
) -> list[Stream]:
    """Returns a stream for each mean number of posts an hour, with `days` after the history.

    The onset is a random hour of the second day after the history, unless nothing happens. Streams of the same seed
    have the same posts, whatever the size of their windows.

    Args:
        kind: What happens at the onset.
        per_hour: Posts an hour on average, of each stream.
        seed: The seed of the random numbers.
        size_s: Size of the windows in seconds, a multiple of `PART_S`.
        days: Days after the history.
        noise: How much the streams vary.
    """
    rng = np.random.default_rng([seed, list(Kind).index(kind)])
    windows = (HISTORY_DAYS + days) * _A_DAY
    shared = _onset(rng)
    made = []
    for number, mean in enumerate(per_hour):
        onset = windows if kind is Kind.NOTHING else shared if kind is Kind.OUTAGE else _onset(rng)
        parts = _stream(rng, _Plan(f"k{number:03}", mean, kind, onset, windows, noise))
        made.append(_added_up(parts, size_s // PART_S))
    return made


_AN_HOUR, _A_DAY = 3_600 // PART_S, 86_400 // PART_S


def _onset(rng: np.random.Generator) -> int:
    return (HISTORY_DAYS + 1) * _A_DAY + int(rng.integers(24)) * _AN_HOUR


def _added_up(stream: Stream, times: int) -> Stream:
    """Returns the stream with windows that are so many times as long."""
    windows = len(stream.counts) // times
    return Stream(
        stream.keyword,
        stream.size_s * times,
        stream.counts.reshape(windows, times).sum(axis=1),
        stream.labels.reshape(windows, times, len(LABELS)).sum(axis=1),
        np.asarray(stream.counted.reshape(windows, times).any(axis=1), np.bool_),
        stream.per_hour,
        stream.kind,
        stream.onset // times,
        stream.first // times,
    )


@dataclass(frozen=True)
class _Plan:
    keyword: str
    per_hour: float
    kind: Kind
    onset: int
    windows: int
    noise: Noise


def _stream(rng: np.random.Generator, plan: _Plan) -> Stream:
    """Returns a stream with windows of `PART_S`."""
    per_hour, kind, onset, windows, noise = plan.per_hour, plan.kind, plan.onset, plan.windows, plan.noise
    rate = per_hour / _AN_HOUR * rhythm(rng, windows) * _factors(rng, windows, noise)
    share = SHARE * np.exp(0.15 * np.sin(2 * np.pi * (np.arange(windows) / _A_DAY + rng.random())))
    since_h = (np.arange(windows) - onset) / _AN_HOUR
    changed = (since_h >= 0) & (since_h < 48)
    ramp = np.clip(since_h / 12, 0, 1)
    match kind:
        case Kind.STEP_SHARE:
            share = np.where(changed, share * 2.5, share)
        case Kind.RISE_SHARE:
            share = np.where(changed, share * (1 + 1.5 * ramp), share)
        case Kind.STEP_VOLUME:
            rate = np.where(changed, rate * 2, rate)
        case Kind.RISE_VOLUME:
            rate = np.where(changed, rate * (1 + 2 * ramp), rate)
        case _:
            pass
    counts: Ints = rng.poisson(rate)
    counted = np.ones(windows, np.bool_)
    if kind is Kind.HOLES:
        hours = np.arange(0, (windows - onset) // _AN_HOUR - 2, 4)
        for hour in rng.choice(hours, min(12, len(hours)), replace=False):
            counts[onset + hour * _AN_HOUR : onset + (hour + 2) * _AN_HOUR] = 0
    if kind is Kind.OUTAGE:
        counts[onset : onset + 6 * _AN_HOUR] = 0
        counted[onset : onset + 6 * _AN_HOUR] = False
    labels = _labels(rng, counts, share, noise)
    if kind is Kind.BURST:
        # One author posts half of what all others post in an hour, at least twenty times, in ten minutes.
        for window in (onset, onset + 1):
            part = int(max(20, per_hour / 2)) // 2
            counts[window] += part
            labels[window, LABELS.index(WATCHED)] += part
    first = HISTORY_DAYS * _A_DAY
    return Stream(plan.keyword, PART_S, counts, labels, counted, per_hour, kind, onset, first)


def rhythm(rng: np.random.Generator, windows: int) -> Floats:
    """Returns the rate of each part, with a mean of 1: more by day than by night, and different at the weekend."""
    at_h = np.arange(windows) / _AN_HOUR
    phase = rng.uniform(-3, 3)
    day = 1 + 0.7 * np.sin(2 * np.pi * (at_h - 9 - phase) / 24) + 0.15 * np.sin(4 * np.pi * (at_h - phase) / 24)
    weekend = np.where((at_h // 24) % 7 >= 5, rng.uniform(0.6, 1.4), 1.0)
    found: Floats = day * weekend
    found /= found.mean()
    return found


def _factors(rng: np.random.Generator, windows: int, noise: Noise) -> Floats:
    factors: Floats = np.ones(windows)
    for variation, length in ((noise.part, 1), (noise.hour, _AN_HOUR), (noise.day, _A_DAY)):
        if variation:
            drawn = rng.gamma(variation**-2, variation**2, size=-(-windows // length))
            factors *= np.repeat(drawn, length)[:windows]
    return factors


def _labels(rng: np.random.Generator, counts: Ints, share: Floats, noise: Noise) -> Ints:
    watched = LABELS.index(WATCHED)
    others = np.array([0.3, 0.2, 0.12, 0.0, 0.1, 0.12, 0.1, 0.06])
    mix: Floats = (1 - share)[:, None] * others / others.sum()
    mix[:, watched] = share
    if noise.mix:
        mix = rng.standard_gamma(noise.mix * mix)
        mix /= mix.sum(axis=1, keepdims=True)
    found: Ints = rng.multinomial(counts, mix)
    return found


def spread_volumes(keywords: int, low: float = 2, high: float = 500) -> list[float]:
    """Returns mean numbers of posts an hour, evenly spread on a logarithmic scale."""
    return [float(value) for value in np.geomspace(low, high, keywords)]
