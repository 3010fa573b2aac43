"""The shapes that a chart consists of, in pixels from the upper left corner. Pure.

A chart is laid out once, as a `Figure`. `streams.charts.svg` and `streams.charts.png` draw the same figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Align = Literal["left", "middle", "right"]


@dataclass(frozen=True)
class Fill:
    """The area of a shape: its colour, its hatch with the hatch's colour, and the colour of its edge.

    Attributes:
        colour: "#rrggbb", or an empty string for none.
        hatch: a name in `streams.charts.palette.HATCHES`, or an empty string for none.
        hatch_colour: colour of the lines of the hatch.
        edge: colour of a line of one pixel around the shape; an empty string for none.
    """

    colour: str
    hatch: str = ""
    hatch_colour: str = ""
    edge: str = ""


@dataclass(frozen=True)
class Rect:
    """A rectangle by its upper left corner, width and height."""

    x: float
    y: float
    width: float
    height: float
    fill: Fill


@dataclass(frozen=True)
class Ring:
    """A part of a ring. `start` and `stop` are in turns, clockwise from the top: from 0 to 1 is a whole ring."""

    x: float
    y: float
    outer: float
    inner: float
    start: float
    stop: float
    fill: Fill


@dataclass(frozen=True)
class Line:
    """A straight line between two points, `width` pixels wide."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.0


@dataclass(frozen=True)
class Text:
    """A line of text. `y` is the middle of its height, `size` the size of the font in pixels."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    align: Align = "left"
    bold: bool = False


Shape = Rect | Ring | Line | Text


@dataclass(frozen=True)
class Figure:
    """A chart: its size in pixels, its shapes in the order in which they are drawn, and what it says in words.

    Attributes:
        width: width in pixels.
        height: height in pixels.
        title: one line, for the title of the file.
        description: the numbers of the chart as sentences, for those who do not see it.
        shapes: the shapes; later ones cover earlier ones.
    """

    width: float
    height: float
    title: str
    description: str
    shapes: tuple[Shape, ...]
