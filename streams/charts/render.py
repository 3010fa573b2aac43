"""Turns a figure into the bytes of a file."""

from __future__ import annotations

from typing import Literal, get_args

from streams.charts.scene import Figure
from streams.charts.svg import to_svg

Format = Literal["png", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)


def render(figure: Figure, format: Format, *, scale: float = 1.0) -> bytes:  # noqa: A002 - the word for it
    """Returns the figure as a file. The same figure has the same bytes, and any thread may call this.

    The first PNG of a process loads matplotlib. An SVG loads nothing.

    Args:
        figure: the chart.
        format: "png" or "svg".
        scale: device pixels for each pixel of a PNG; 2 is sharp on screens with twice the resolution.

    Raises:
        ValueError: `format` is another one.
    """
    if format == "svg":
        return to_svg(figure)
    if format == "png":
        from streams.charts.png import to_png  # noqa: PLC0415 - loads matplotlib

        return to_png(figure, scale)
    raise ValueError(f"a chart is one of {', '.join(FORMATS)}, not {format!r}")
