"""The parts that all charts share: header, keys of labels, and text that is readable on a colour. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.charts.palette import INK, MUTED, PAPER, REST, Style, contrast
from streams.charts.scene import Fill, Rect, Shape, Text
from streams.charts.text import drawable, shortened, text_width, wrapped

MARGIN: Final = 24.0
TITLE_SIZE: Final = 22.0
TEXT_SIZE: Final = 13.0
SMALL_SIZE: Final = 12.0
HEADER_HEIGHT: Final = 74.0
"""Height of title and subtitle with the space around them, in pixels."""

KEY_SIDE: Final = 16.0
_EDGE_BELOW: Final = 1.5
NAME_ROOM: Final = 150.0
"""The most room of a label's name, in pixels. Longer names are cut."""


def header(title: str, subtitle: str, width: float) -> list[Shape]:
    """Returns title and subtitle, cut to the width of the figure."""
    room = width - 2 * MARGIN
    return [
        Text(MARGIN, 34, shortened(drawable(title), TITLE_SIZE, room, bold=True), TITLE_SIZE, INK, bold=True),
        Text(MARGIN, 60, shortened(drawable(subtitle), TEXT_SIZE, room), TEXT_SIZE, MUTED),
    ]


def fill_of(style: Style) -> Fill:
    """Returns the area of a label. A colour that is close to white has an edge."""
    edge = MUTED if contrast(style.colour, PAPER) < _EDGE_BELOW else ""
    return Fill(style.colour, style.hatch, style.ink, edge)


def key(x: float, y: float, style: Style) -> Rect:
    """Returns the square of a legend, by its left side and the middle of its height."""
    return Rect(x, y - KEY_SIDE / 2, KEY_SIDE, KEY_SIDE, fill_of(style))


def on_colour(x: float, y: float, text: str, size: float, style: Style) -> list[Shape]:
    """Returns a text in the middle of a point of a label's area. The hatch has a gap around the text."""
    width, height = text_width(text, size) + 2, size + 3
    words = Text(x, y, text, size, style.ink, "middle")
    if not style.hatch:
        return [words]
    return [Rect(x - width / 2, y - height / 2, width, height, Fill(style.colour)), words]


def short_label(label: str, size: float = TEXT_SIZE, room: float = NAME_ROOM) -> str:
    """Returns a label's name, cut to the room of a legend."""
    return "other" if label == REST else shortened(drawable(label), size, room)


def rest_note(rest: Sequence[str], x: float, y: float, room: float, *, rows: int = 2) -> list[Shape]:
    """Returns the lines that name the labels that are drawn as one; the first has its middle at `y`."""
    if not rest:
        return []
    names = [drawable(label) for label in rest]
    names[0] = f"other: {names[0]}"
    lines = wrapped(names, SMALL_SIZE, room, rows=rows)
    return [Text(x, y + 17 * index, line, SMALL_SIZE, MUTED) for index, line in enumerate(lines)]
