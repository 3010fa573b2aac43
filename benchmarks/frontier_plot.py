"""Draws accuracy against speed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.frontier import EMOTION_MIX, EQUAL_MIX, FIGURES, Frontier
from models.training.report import TITLES

_INK: Final = "#22262b"
_MUTED: Final = "#6b7178"
# Okabe and Ito's palette, which people with any kind of colour vision can tell apart. Each colour has its own marker.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS: Final = "osD^vP"


def plot(frontier: Frontier, file: Path) -> None:
    """Draw a chart for each figure of accuracy against posts a second, and write a PNG. Up and to the right is better.

    A figure that no contender has is left out. The figure of the set emotion is drawn against the speed on its texts,
    the other figures against the speed on all sets. A contender without the figure is a dashed line at its speed. A
    published figure is a hollow mark.
    """
    names = [name for name in FIGURES if any(c.figures.get(name) is not None for c in frontier.contenders)]
    figure = Figure(figsize=(5 * len(names), 4.6), dpi=150)
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1)
        mix = EMOTION_MIX if name == "emotion" else EQUAL_MIX
        for place, contender in enumerate(frontier.contenders):
            colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
            speed, value = contender.speeds[mix].per_second, contender.figures.get(name)
            if value is None:
                axes.axvline(speed, color=colour, linewidth=1, linestyle="--", label=contender.name)
                continue
            face = "none" if contender.published else colour
            axes.plot(
                speed, value, marker, color=colour, markerfacecolor=face, markersize=9, label=contender.name, zorder=3
            )
        axes.set_xscale("log")
        axes.margins(x=0.2, y=0.25)
        axes.set_title(f"{name}: {TITLES[FIGURES[name]]}", fontsize=11, color=_INK, loc="left")
        axes.set_xlabel(f"posts/s on {mix}, {frontier.threads} thread(s), log scale", fontsize=8, color=_MUTED)
        axes.grid(color="#e3e6ea", linewidth=0.6, which="both")
        axes.set_axisbelow(True)
        axes.tick_params(colors=_MUTED, labelsize=8, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        _plain_ticks(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(3, len(labels)), frameon=False, fontsize=9)
    bottom = 0.22 + 0.05 * ((len(labels) - 1) // 3)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.92, bottom=bottom, wspace=0.2)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _plain_ticks(axes: Axes) -> None:
    """Label the axis with numbers such as 200 and 1,000 instead of powers of ten, few enough to be readable."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
