"""Lays out the values of an incident's windows as a line, with the usual value, the limit and the start. Pure.

Colour is not the only sign: the lines are named at their right ends, and that of the usual value is dashed. A window
without data is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from math import floor, log10
from typing import Final

from streams.charts.palette import COLOURS, GRID, INK, MUTED
from streams.charts.parts import HEADER_HEIGHT, MARGIN, SMALL_SIZE, header
from streams.charts.scene import Align, Figure, Fill, Line, Rect, Shape, Text
from streams.charts.text import drawable
from streams.records import ALL_KEYWORDS, AlertPoint, AlertRecord, Timestamp
from streams.wording import counted

WIDTH: Final = 800.0
HEIGHT: Final = 340.0

_LEFT: Final = MARGIN + 48
_RIGHT: Final = WIDTH - MARGIN - 92
_TOP: Final = HEADER_HEIGHT + 26
_BOTTOM: Final = HEIGHT - 52
_VALUE: Final = COLOURS["sadness"]
_LIMIT: Final = COLOURS["anger"]
_SINCE: Final = "#f6e9e7"
_DASH: Final = 7.0
_DOT: Final = 5.0
_LINE_HEIGHT: Final = 15.0
_LEAST: Final = 1e-6
_MOST: Final = 1e18
_MAX_POINTS: Final = 400
"""Points that are drawn. Those before the last so many are left out: a pixel has no room for two."""


def alert_chart(record: AlertRecord) -> Figure:
    """Returns the chart of an incident's windows, in their order. Without windows it says so."""
    points = sorted(record.reason.points, key=lambda point: point.start)[-_MAX_POINTS:]
    unit = "posts" if record.measure == "volume" else "percent"
    subject = "all posts" if record.keyword == ALL_KEYWORDS else record.keyword
    what = "posts" if record.measure == "volume" else f"{record.label or record.measure}, percent of the posts"
    shapes = header(record.reason.summary, f"{subject}: {what}, windows of {_span(record.size)}", WIDTH)
    if not points:
        middle = (_TOP + _BOTTOM) / 2
        shapes.append(Text(WIDTH / 2, middle, "no windows are known", SMALL_SIZE, MUTED, "middle"))
        return Figure(WIDTH, HEIGHT, drawable(record.reason.summary), _described(record, points, unit), tuple(shapes))
    frame = _Frame(points, record)
    shapes += frame.since(record.began)
    shapes += frame.axes()
    shapes += frame.curve(lambda point: point.usual, MUTED, 1.5, dashed=True)
    shapes += _level(frame.y(record.reason.limit), _LIMIT)
    shapes += frame.curve(lambda point: point.value, _VALUE, 2.5)
    shapes += frame.names(record.reason.limit)
    return Figure(WIDTH, HEIGHT, drawable(record.reason.summary), _described(record, points, unit), tuple(shapes))


class _Frame:
    """Where times and values are drawn."""

    def __init__(self, points: Sequence[AlertPoint], record: AlertRecord) -> None:
        self.points = points
        self._first = points[0].start
        self._last = points[-1].start + timedelta(seconds=record.size)
        known = [value for point in points for value in (point.value, point.usual) if value is not None]
        # An axis has a length, and limits of stored incidents may be any number.
        top = min(max([record.reason.limit, *known, 0.0]), _MOST)
        top = top if top >= _LEAST else 1.0
        self._step = _nice_step(top / 4)
        self._ticks = floor(top * 1.02 / self._step) + 1
        self._size = timedelta(seconds=record.size)

    def x(self, moment: Timestamp, *, middle: bool = False) -> float:
        """Returns the place of a moment; of the middle of the window that starts then."""
        share = (moment + self._size / 2 * middle - self._first) / (self._last - self._first)
        return _LEFT + min(1.0, max(0.0, share)) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        """Returns the height of a value."""
        return _BOTTOM - min(1.0, max(0.0, value / (self._ticks * self._step))) * (_BOTTOM - _TOP)

    def since(self, began: Timestamp) -> list[Shape]:
        """Returns the area since the incident began, with its name."""
        x = self.x(began)
        align: Align = "left" if x < (_LEFT + _RIGHT) / 2 else "right"
        return [
            Rect(x, _TOP, max(1.0, _RIGHT - x), _BOTTOM - _TOP, Fill(_SINCE)),
            Line(x, _TOP - 6, x, _BOTTOM, _LIMIT, 1.5),
            Text(x + (4 if align == "left" else -4), _TOP - 14, f"began {began:%H:%M}", SMALL_SIZE, INK, align),
        ]

    def axes(self) -> list[Shape]:
        """Returns the lines of the values, and the times below."""
        shapes: list[Shape] = []
        for tick in range(self._ticks + 1):
            value = tick * self._step
            y = self.y(value)
            shapes.append(Line(_LEFT, y, _RIGHT, y, MUTED if tick == 0 else GRID))
            shapes.append(Text(_LEFT - 8, y, f"{value:,.6g}", SMALL_SIZE, MUTED, "right"))
        days = (self._last - self._first) > timedelta(hours=23)
        for share in range(5):
            moment = self._first + (self._last - self._first) * share / 4
            x = _LEFT + (_RIGHT - _LEFT) * share / 4
            text = f"{moment:%d %b %H:%M}" if days else f"{moment:%H:%M}"
            align: Align = "left" if share == 0 else "right" if share == 4 else "middle"
            shapes.append(Line(x, _BOTTOM, x, _BOTTOM + 4, MUTED))
            shapes.append(Text(x, _BOTTOM + 16, text, SMALL_SIZE, MUTED, align))
        dates = f"{self._first:%Y-%m-%d}", f"{self._last:%Y-%m-%d}"
        day = dates[0] if dates[0] == dates[1] else " to ".join(dates)
        shapes.append(Text((_LEFT + _RIGHT) / 2, _BOTTOM + 36, f"{day}, UTC", SMALL_SIZE, MUTED, "middle"))
        return shapes

    def curve(
        self, value_of: Callable[[AlertPoint], float | None], colour: str, width: float, *, dashed: bool = False
    ) -> list[Shape]:
        """Returns a line through the middles of the windows. A window between two without data is a dot."""
        shapes: list[Shape] = []
        places = [
            None if value is None else (self.x(point.start, middle=True), self.y(value))
            for point, value in ((point, value_of(point)) for point in self.points)
        ]
        joined: set[int] = set()
        for index, (one, other) in enumerate(pairwise(places)):
            is_next = self.points[index + 1].start - self.points[index].start <= self._size
            if one is not None and other is not None and is_next:
                joined |= {index, index + 1}
                shapes += _dashes(one, other, colour, width) if dashed else [Line(*one, *other, colour, width)]
        for index, place in enumerate(places):
            if place is not None and index not in joined:
                shapes.append(Rect(place[0] - _DOT / 2, place[1] - _DOT / 2, _DOT, _DOT, Fill(colour)))
        return shapes

    def names(self, limit: float) -> list[Shape]:
        """Returns the names of the lines at their right ends, one below the other where they would overlap."""
        last = {
            "value": next((p.value for p in reversed(self.points) if p.value is not None), None),
            "usual": next((p.usual for p in reversed(self.points) if p.usual is not None), None),
            "limit": limit,
        }
        colours = {"value": _VALUE, "usual": MUTED, "limit": _LIMIT}
        wanted = sorted((self.y(value), name, value) for name, value in last.items() if value is not None)
        shapes: list[Shape] = []
        below = _TOP - _LINE_HEIGHT
        for y, name, value in wanted:
            below = max(y, below + _LINE_HEIGHT)
            shapes.append(Text(_RIGHT + 8, below, f"{name} {_short(value)}", SMALL_SIZE, colours[name]))
        return shapes


def _level(y: float, colour: str) -> list[Shape]:
    return [Line(_LEFT, y, _RIGHT, y, colour, 1.5)]


def _dashes(start: tuple[float, float], end: tuple[float, float], colour: str, width: float) -> list[Shape]:
    (x1, y1), (x2, y2) = start, end
    count = max(1, round(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 / (2 * _DASH)))
    step_x, step_y = (x2 - x1) / count, (y2 - y1) / count
    return [
        Line(
            x1 + n * step_x, y1 + n * step_y, x1 + (n + 0.5) * step_x, y1 + (n + 0.5) * step_y, colour, width
        )  # the other half of each step is empty
        for n in range(count)
    ]


def _nice_step(least: float) -> float:
    """Returns the smallest of 1, 2, 5, 10, 20, … that is at least so much."""
    power: float = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * 0.999)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _span(size_s: int) -> str:
    for seconds, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if size_s % seconds == 0:
            return counted(size_s // seconds, noun)
    return counted(size_s, "second")


def _described(record: AlertRecord, points: Sequence[AlertPoint], unit: str) -> str:
    """Returns the chart in words."""
    values = [point.value for point in points if point.value is not None]
    known = f"between {_short(min(values))} and {_short(max(values))}" if values else "not known"
    return (
        f"{drawable(record.reason.summary)} The value of {counted(len(points), 'window')} was {known} {unit}; "
        f"the limit is {_short(record.reason.limit)}."
    )
