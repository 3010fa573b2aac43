"""Lays out the emotions of one or several keywords as horizontal bars, divided into shares. Pure.

Colour is not the only sign of a label: the bars have the order of the legend, labels have hatches, and the first bar
has the labels' names above it. So the chart can be read in black and white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from streams.charts.palette import GRID, INK, MUTED, PAPER, Style, styles_of
from streams.charts.parts import (
    HEADER_HEIGHT,
    KEY_SIDE,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    fill_of,
    header,
    key,
    on_colour,
    rest_note,
    short_label,
)
from streams.charts.scene import Align, Figure, Fill, Line, Rect, Shape, Text
from streams.charts.shares import Facts, Grouped, Share, described, grouped, percent, whole
from streams.charts.text import drawable, shortened, text_width

WIDTH: Final = 800.0

_BAR_HEIGHT: Final = 26.0
_ROW: Final = 36.0
_LONE_HEIGHT: Final = 64.0
_APART: Final = 14.0
_LEGEND_ROW: Final = 24.0
_NAME_ROOM: Final = 140.0
_NOTE_ROOM: Final = 150.0
_SEPARATED_FROM: Final = 4.0
"""The narrowest segment, in pixels, with a white line before and after it. The line would hide narrower ones."""


@dataclass(frozen=True)
class Bar:
    """A keyword's bar.

    Attributes:
        facts: what the shares are of.
        shares: the labels, in any order.
        note: the text on the right; the number of posts if it is empty.
        apart: whether there is a gap below it.
    """

    facts: Facts
    shares: Sequence[Share]

    note: str = ""
    apart: bool = False


def emotion_bars(
    bars: Sequence[Bar], *, title: str = "", subtitle: str = "", note_title: str = "posts", width: float = WIDTH
) -> Figure:
    """Returns a horizontal bar for each keyword, as wide as its posts are 100 %.

    Args:
        bars: the keywords in the order in which they are drawn, from above. A bar without a share above 0 is empty and
            says "no posts". The labels with fewest posts are drawn as one if there are more than
            `streams.charts.shares.MAX_LABELS`.
        title: the title; by default the keyword if there is one, and otherwise "Emotions by keyword".
        subtitle: the line below it; by default the facts of the bar, or the time of the first one of several.
        note_title: what the numbers on the right are.
        width: width in pixels; the height follows from the number of bars.

    Raises:
        ValueError: there is no bar, or a share is negative or not finite.
    """
    if not bars:
        raise ValueError("a chart needs at least one bar")
    lone = len(bars) == 1
    group = grouped([bar.shares for bar in bars])
    styles = styles_of(group.labels)
    title = title or (bars[0].facts.keyword if lone else "Emotions by keyword")
    shapes = header(title, subtitle or (bars[0].facts.subtitle if lone else bars[0].facts.time), width)
    frame = _Frame.of(bars, note_title, width, lone=lone)
    legend, y = _legend(_entries(group, lone=lone), styles, width)
    shapes += legend
    shapes += rest_note(group.rest, MARGIN, y + 12, width - 2 * MARGIN, rows=2)
    y += (44 if group.rest else 0) + 30
    shapes += _segment_names(group.rows[0], group.labels, frame, y - 12)
    if not lone:
        shapes.append(Text(frame.right + 12, y - 12, note_title, SMALL_SIZE, MUTED))
    height = _LONE_HEIGHT if lone else _BAR_HEIGHT
    for bar, row in zip(bars, group.rows, strict=True):
        shapes += _bar(bar, [row[label] for label in group.labels if label in row], styles, frame, y=y, height=height)
        y += (height if lone else _ROW) + (_APART if bar.apart else 0)
    shapes += _axis(frame, y + 4)
    description = " ".join(described(bar.facts, bar.shares) for bar in bars)
    return Figure(width, y + 56, drawable(title), description, tuple(shapes))


@dataclass(frozen=True)
class _Frame:
    """Where the bars begin and end, in pixels from the left."""

    left: float
    right: float

    @classmethod
    def of(cls, bars: Sequence[Bar], note_title: str, width: float, *, lone: bool) -> _Frame:
        if lone:
            return cls(MARGIN, width - MARGIN)
        name = min(_NAME_ROOM, max(text_width(_name(bar), TEXT_SIZE) for bar in bars))
        note = min(_NOTE_ROOM, max(text_width(text, SMALL_SIZE) for text in (note_title, *map(_note, bars))))
        return cls(MARGIN + name + 12, width - MARGIN - note - 12)

    def x(self, share: float) -> float:
        return self.left + share * (self.right - self.left)


def _name(bar: Bar) -> str:
    return drawable(bar.facts.keyword)


def _note(bar: Bar) -> str:
    return drawable(bar.note) or f"{bar.facts.posts:,}"


def _entries(group: Grouped, *, lone: bool) -> dict[str, str]:
    """Returns the text of each label in the legend. A lone bar has the percentages of narrow segments there only."""
    (row, *_) = group.rows
    return {
        label: f"{short_label(label)} {percent(row[label].pct)}" if lone else short_label(label)
        for label in group.labels
    }


def _legend(entries: dict[str, str], styles: dict[str, Style], width: float) -> tuple[list[Shape], float]:
    """Returns the keys, in as many rows as needed, and the y of the end of the last row."""
    shapes: list[Shape] = []
    x, y = MARGIN, HEADER_HEIGHT + 18
    for label, text in entries.items():
        entry = KEY_SIDE + 7 + text_width(text, TEXT_SIZE) + 14
        if x + entry - 14 > width - MARGIN and x > MARGIN:
            x, y = MARGIN, y + _LEGEND_ROW
        shapes += [key(x, y, styles[label]), Text(x + KEY_SIDE + 7, y, text, TEXT_SIZE, INK)]
        x += entry
    return shapes, y + _LEGEND_ROW / 2


def _segments(shares: Sequence[Share], frame: _Frame) -> list[tuple[Share, float, float]]:
    """Returns each share above 0 with the left and right side of its segment."""
    total = sum(share.pct for share in shares)
    segments: list[tuple[Share, float, float]] = []
    before = 0.0
    for share in shares:
        if share.pct > 0:
            segments.append((share, frame.x(before / total), frame.x(min(1.0, (before + share.pct) / total))))
            before += share.pct
    return segments


def _segment_names(row: dict[str, Share], labels: Sequence[str], frame: _Frame, y: float) -> list[Shape]:
    """Returns the names above the segments of the first bar, of those that are as wide as their name."""
    shapes: list[Shape] = []
    for share, left, right in _segments([row[label] for label in labels if label in row], frame):
        text = short_label(share.label, SMALL_SIZE)
        if text_width(text, SMALL_SIZE) <= right - left:
            shapes.append(Text((left + right) / 2, y, text, SMALL_SIZE, MUTED, "middle"))
    return shapes


def _bar(
    bar: Bar, shares: Sequence[Share], styles: dict[str, Style], frame: _Frame, *, y: float, height: float
) -> list[Shape]:
    lone = height == _LONE_HEIGHT
    middle = y + height / 2
    shapes: list[Shape] = []
    if not lone:
        name = shortened(_name(bar), TEXT_SIZE, _NAME_ROOM)
        note = shortened(_note(bar), SMALL_SIZE, _NOTE_ROOM)
        shapes.append(Text(frame.left - 12, middle, name, TEXT_SIZE, INK, "right"))
        shapes.append(Text(frame.right + 12, middle, note, SMALL_SIZE, MUTED))
    segments = _segments(shares, frame)
    if not segments:
        shapes.append(Rect(frame.left, y, frame.right - frame.left, height, Fill(GRID)))
        shapes.append(Text((frame.left + frame.right) / 2, middle, "no posts", TEXT_SIZE, MUTED, "middle"))
        return shapes
    shapes += [Rect(left, y, right - left, height, fill_of(styles[share.label])) for share, left, right in segments]
    for (_, before, left), (_, _, right) in pairwise(segments):
        if min(left - before, right - left) >= _SEPARATED_FROM:
            shapes.append(Line(left, y - 1, left, y + height + 1, PAPER, 2))
    size = TEXT_SIZE if lone else SMALL_SIZE
    for share, left, right in segments:
        text = f"{whole(share.pct)} %" if lone else whole(share.pct)
        if text_width(text, size) + 8 <= right - left:
            shapes += on_colour((left + right) / 2, middle, text, size, styles[share.label])
    return shapes


def _axis(frame: _Frame, y: float) -> list[Shape]:
    shapes: list[Shape] = []
    for number in range(0, 101, 20):
        x = frame.x(number / 100)
        align: Align = "left" if number == 0 else "right" if number == 100 else "middle"
        shapes.append(Line(x, y - 2, x, y + 3, GRID))
        shapes.append(Text(x, y + 13, f"{number}", SMALL_SIZE, MUTED, align))
    shapes.append(Text(frame.x(0.5), y + 34, "share of the keyword's posts, percent", SMALL_SIZE, MUTED, "middle"))
    return shapes
