"""Draws the comparison of systems: speed, processor time and latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.harness.report import GROUPS, Comparison, SystemSummary, processor

_INK: Final = "#22262b"
_MUTED: Final = "#6b7178"
# Okabe and Ito's palette, which people with any kind of colour vision can tell apart.
_EMOSTREAM: Final = "#0072b2"
_OTHERS: Final = "#9aa1a9"
_GROUP_COLOURS: Final = dict(zip(GROUPS, ("#0072b2", "#e69f00", "#cc79a7"), strict=True))
_PERCENTILES: Final = (("p50", "o", "#009e73"), ("p95", "s", "#e69f00"), ("p99", "D", "#d55e00"))
HALF_LOAD: Final = 0.5
"""The share of the maximum rate whose latency is drawn."""


def plot(comparison: Comparison, file: Path) -> None:
    """Draw posts a second, processor time for 1,000 posts, and latency at half the maximum rate; write a PNG."""
    systems = sorted((s for s in comparison.systems if s.throughput), key=lambda s: _median(s, "per_second"))
    timed = any(run.share == HALF_LOAD for system in systems for run in system.latency)
    columns = 3 if timed else 2
    figure = Figure(figsize=(4.4 * columns + 1.6, 0.42 * len(systems) + 1.9), dpi=150)
    axes = [figure.add_subplot(1, columns, index + 1) for index in range(columns)]
    _draw_speed(axes[0], systems)
    _draw_processor(axes[1], systems)
    if timed:
        _draw_latency(axes[2], systems)
    for index, each in enumerate(axes):
        each.set_yticks(range(len(systems)), [s.title for s in systems] if index == 0 else [""] * len(systems))
        each.set_ylim(-0.6, len(systems) - 0.4)
        each.grid(axis="x", color="#e3e6ea", linewidth=0.6)
        each.set_axisbelow(True)
        each.tick_params(colors=_MUTED, labelsize=8, length=0)
        each.spines[["top", "right", "left"]].set_visible(False)
    for label, system in zip(axes[0].get_yticklabels(), systems, strict=True):
        label.set_color(_EMOSTREAM if system.name == "emostream" else _INK)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _median(system: SystemSummary, figure: str) -> float:
    spread = system.spread(lambda run: float(getattr(run, figure)))
    return spread.median if spread else 0.0


def _draw_speed(axes: Axes, systems: Sequence[SystemSummary]) -> None:
    for row, system in enumerate(systems):
        spread = system.spread(lambda run: run.per_second)
        if spread is None:
            continue
        axes.barh(row, spread.median, height=0.62, color=_EMOSTREAM if system.name == "emostream" else _OTHERS)
        axes.plot((spread.low, spread.high), (row, row), color=_INK, linewidth=1.2)
        axes.annotate(
            f"{spread.median:,.0f}", (spread.high, row), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.margins(x=0.14)
    axes.set_title("posts a second (line: all rounds)", fontsize=10, color=_INK, loc="left")


def _draw_processor(axes: Axes, systems: Sequence[SystemSummary]) -> None:
    for row, system in enumerate(systems):
        left = 0.0
        for group in GROUPS:
            spread = system.spread(processor(group))
            width = spread.median if spread else 0.0
            label = group.capitalize() if row == 0 else None
            axes.barh(row, width, left=left, height=0.62, color=_GROUP_COLOURS[group], label=label)
            left += width
    axes.set_title("CPU seconds for 1,000 posts", fontsize=10, color=_INK, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def _draw_latency(axes: Axes, systems: Sequence[SystemSummary]) -> None:
    for row, system in enumerate(systems):
        runs = [run for run in system.latency if run.share == HALF_LOAD]
        if not runs:
            continue
        for name, marker, colour in _PERCENTILES:
            value = sorted(getattr(run, name) for run in runs)[len(runs) // 2]
            axes.plot(max(value, 1.0), row, marker, color=colour, markersize=6)
    for name, marker, colour in _PERCENTILES:
        axes.plot([], [], marker, color=colour, label=name, markersize=6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_title("ms from produce to result, at half its rate", fontsize=10, color=_INK, loc="left")
