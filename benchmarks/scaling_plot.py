"""Draws how the rate grows with the number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from benchmarks.harness.stats import Spread

_INK: Final = "#22262b"
_MUTED: Final = "#6b7178"
_OURS: Final = "#0072b2"


def plot(rates: Mapping[int, Spread], file: Path) -> None:
    """Draw posts a second against the number of workers, with a line for linear growth; write a PNG."""
    figure = Figure(figsize=(5.2, 4), dpi=150)
    axes = figure.add_subplot(1, 1, 1)
    counts = sorted(rates)
    medians = [rates[count].median for count in counts]
    below = [rates[count].median - rates[count].low for count in counts]
    above = [rates[count].high - rates[count].median for count in counts]
    axes.plot(
        [0, counts[-1]], [0, counts[-1] * rates[counts[0]].median / counts[0]], "--", color=_MUTED, label="linear"
    )
    axes.errorbar(counts, medians, yerr=[below, above], fmt="o-", color=_OURS, capsize=3, label="median of the rounds")
    axes.set_xticks(counts)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("workers", fontsize=8, color=_MUTED)
    axes.set_title("posts a second", fontsize=10, color=_INK, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.grid(color="#e3e6ea", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelsize=8, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
