"""Draws a load: latency by percentile, and outcomes by second. Pure.

The axis of percentiles is logarithmic in 1 - p, as in the plots of HdrHistogram, so that each further nine has the same
room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from streams.charts.palette import GRID, INK, MUTED
from streams.charts.parts import MARGIN, SMALL_SIZE, TEXT_SIZE, header
from streams.charts.scene import Figure, Line, Shape, Text
from streams.ops.stress.latencies import Distribution
from streams.ops.stress.report import Report

WIDTH: Final = 800.0
HEIGHT: Final = 640.0

_PLANNED: Final = "#0072b2"
_SENT: Final = "#cc79a7"
_FAILED: Final = "#d55e00"

_LEFT, _RIGHT = 84.0, WIDTH - MARGIN
_LATENCY_TOP, _LATENCY_BOTTOM = 122.0, 342.0
_RATE_TOP, _RATE_BOTTOM = 432.0, 580.0
_LONGEST = 400
"""The most points of a curve by second. A longer load has means of several seconds."""


def load_chart(report: Report) -> Figure:
    """Returns the chart of a load: 800 by 640 pixels."""
    tally = report.result.tally
    title = f"Load on /v1/{report.workload.replace('-', '/')}"
    subtitle = (
        f"{report.rate:,g} requests a second offered for {report.result.measured_s:.0f} s, "
        f"{report.answered_per_s:,.0f} answered a second, {tally.failed:,} failed"
    )
    shapes = [*header(title, subtitle, WIDTH), *_latency(report), *_outcomes(report)]
    return Figure(WIDTH, HEIGHT, title, f"{subtitle}. {_described(report.from_plan)}", tuple(shapes))


def _described(found: Distribution) -> str:
    if found.p50 is None:
        return "No latency was measured."
    return f"Latency from the planned time: p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms, maximum {found.max:.1f} ms."


def _latency(report: Report) -> list[Shape]:
    shapes: list[Shape] = [
        Text(_LEFT, _LATENCY_TOP - 24, "latency in ms", TEXT_SIZE, INK),
        Text(_RIGHT, _LATENCY_TOP - 24, "percentile", TEXT_SIZE, INK, "right"),
    ]
    curves = [(report.from_plan, _PLANNED, "from the planned time"), (report.from_send, _SENT, "from sending")]
    values = [ms for found, _, _ in curves for _, ms in found.curve if ms > 0]
    if not values:
        middle = (_LATENCY_TOP + _LATENCY_BOTTOM) / 2
        return [*shapes, Text((_LEFT + _RIGHT) / 2, middle, "no request was answered", TEXT_SIZE, MUTED, "middle")]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    nines = max(1.0, math.log10(max(found.count for found, _, _ in curves)))

    def y_of(ms: float) -> float:
        share = (math.log10(max(ms, 10**low)) - low) / (high - low)
        return _LATENCY_BOTTOM - share * (_LATENCY_BOTTOM - _LATENCY_TOP)

    def x_of(percentile: float) -> float:
        at = nines if percentile >= 100 else min(nines, -math.log10(1 - percentile / 100))
        return _LEFT + at / nines * (_RIGHT - _LEFT)

    for power in range(low, high + 1):
        shapes += _level(y_of(10.0**power), f"{10.0**power:g}")
    marks = [0.0, 50.0, *(100 - 10.0 ** (2 - number) for number in range(1, math.floor(nines) + 1))]
    for mark in marks:
        x = x_of(mark)
        shapes.append(Line(x, _LATENCY_TOP, x, _LATENCY_BOTTOM, GRID))
        shapes.append(Text(x, _LATENCY_BOTTOM + 14, f"{mark:.10g}", SMALL_SIZE, MUTED, "middle"))
    for found, colour, _ in reversed(curves):
        shapes += _curve([(x_of(percentile), y_of(ms)) for percentile, ms in found.curve], colour)
    return shapes + _keys([(colour, name) for _, colour, name in curves], _LATENCY_BOTTOM + 38)


def _outcomes(report: Report) -> list[Shape]:
    tally = report.result.tally
    seconds = max(math.ceil(report.result.measured_s), *(second + 1 for second in (0, *tally.answered_at)))
    step = math.ceil(seconds / _LONGEST)
    answered = _by_step(lambda second: tally.answered_at[second], seconds, step)
    failed = _by_step(lambda second: tally.failed_at[second], seconds, step)
    top = max(report.rate, *answered, *failed) * 1.05

    def y_of(value: float) -> float:
        return _RATE_BOTTOM - value / top * (_RATE_BOTTOM - _RATE_TOP)

    def x_of(second: float) -> float:
        return _LEFT + second / seconds * (_RIGHT - _LEFT)

    shapes: list[Shape] = [
        Text(_LEFT, _RATE_TOP - 24, "requests a second", TEXT_SIZE, INK),
        Text(_RIGHT, _RATE_BOTTOM + 14, f"{seconds} s", SMALL_SIZE, MUTED, "right"),
    ]
    for level in (0.0, report.rate):
        shapes += _level(y_of(level), f"{level:,.6g}")
    for values, colour in ((answered, _PLANNED), (failed, _FAILED)):
        corners = [(x_of(min((at + side) * step, seconds)), y_of(v)) for at, v in enumerate(values) for side in (0, 1)]
        shapes += _curve(corners, colour)
    return shapes + _keys([(_PLANNED, "answered"), (_FAILED, "failed")], _RATE_BOTTOM + 38)


def _by_step(count: Callable[[int], int], seconds: int, step: int) -> list[float]:
    return [
        sum(count(second) for second in range(first, min(first + step, seconds))) / min(step, seconds - first)
        for first in range(0, seconds, step)
    ]


def _level(y: float, text: str) -> list[Shape]:
    return [Line(_LEFT, y, _RIGHT, y, GRID), Text(_LEFT - 8, y, text, SMALL_SIZE, MUTED, "right")]


def _curve(points: Sequence[tuple[float, float]], colour: str) -> list[Shape]:
    return [Line(*one, *other, colour, 2) for one, other in pairwise(points)]


def _keys(keys: Sequence[tuple[str, str]], y: float) -> list[Shape]:
    shapes: list[Shape] = []
    for number, (colour, name) in enumerate(keys):
        x = _LEFT + 220 * number
        shapes += [Line(x, y, x + 22, y, colour, 3), Text(x + 30, y, name, SMALL_SIZE, INK)]
    return shapes
