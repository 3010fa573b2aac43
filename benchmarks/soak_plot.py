"""Draws a soak: the worker's memory and its rate over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.soak_figures import Sample

_INK: Final = "#22262b"
_MUTED: Final = "#6b7178"
_WORKER: Final = "#0072b2"
_REDIS: Final = "#cc79a7"
_LIMIT: Final = "#d55e00"
POINTS: Final = 120
"""Points of the rate's curve at most. In half an hour, each is the mean of 15 s."""


def plot(samples: Sequence[Sample], file: Path, *, limit_mb: float) -> None:
    """Draw memory above and posts a second below, over minutes; write a PNG."""
    figure = Figure(figsize=(9, 5.2), dpi=150)
    memory, rate = figure.add_subplot(2, 1, 1), figure.add_subplot(2, 1, 2)
    minutes = [sample.at / 60 for sample in samples]
    memory.plot(minutes, [sample.rss / 1e6 for sample in samples], color=_WORKER, linewidth=1.2, label="worker")
    memory.plot(minutes, [sample.redis / 1e6 for sample in samples], color=_REDIS, linewidth=1.2, label="Redis")
    memory.axhline(limit_mb, color=_LIMIT, linewidth=1, linestyle="--", label=f"the worker's limit, {limit_mb:g} MB")
    memory.set_ylim(0, 1.35 * max(limit_mb, *(sample.rss / 1e6 for sample in samples)))
    memory.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    _dress(memory, "memory in MB")
    # Results come in batches, so two samples may have no batch or two batches between them. Longer steps smooth that.
    step = max(1, len(samples) // POINTS)
    pairs = list(pairwise(samples[::step]))
    rates = [(b.classified - a.classified) / (b.at - a.at) for a, b in pairs]
    rate.plot([(a.at + b.at) / 120 for a, b in pairs], rates, color=_WORKER, linewidth=1.2)
    rate.set_xlim(memory.get_xlim())
    rate.set_ylim(bottom=0)
    rate.set_xlabel("minutes", fontsize=8, color=_MUTED)
    _dress(rate, "posts a second")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.grid(color="#e3e6ea", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.tick_params(colors=_MUTED, labelsize=8, length=0)
    axes.spines[["top", "right"]].set_visible(False)
