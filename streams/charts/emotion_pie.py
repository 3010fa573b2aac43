"""Lays out the emotions of one keyword as a ring, with the numbers beside it. Pure.

Colour is not the only sign of a label: its name is beside its part of the ring, and the ring, the legend and the
numbers have the same order. So the chart can be read in black and white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from streams.charts.palette import GRID, INK, MUTED, PAPER, Style, styles_of
from streams.charts.parts import (
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
from streams.charts.scene import Align, Figure, Fill, Line, Ring, Shape, Text
from streams.charts.shares import Facts, Share, described, grouped, percent, whole
from streams.charts.text import drawable, shortened, text_width

WIDTH: Final = 800.0
HEIGHT: Final = 500.0

_X, _Y, _OUTER, _INNER = 236.0, 282.0, 140.0, 82.0
_NUMBERED_FROM: Final = 0.05
"""The smallest part of the ring that has its percentage in it. The number does not fit into smaller ones."""

_NAMED_FROM: Final = 0.03
"""The smallest part whose name is beside the ring."""

_SEPARATED_FROM: Final = 0.006
"""The smallest part with a white line before and after it. The line would hide smaller ones."""

_LEGEND_X, _ROW = 480.0, 27.0
_PCT_X, _COUNT_X = 708.0, WIDTH - MARGIN

_Box = tuple[float, float, float, float]


def emotion_pie(shares: Sequence[Share], facts: Facts) -> Figure:
    """Returns the ring of a keyword's emotions: 800 by 500 pixels.

    Args:
        shares: the labels, in any order. Those with fewest posts are drawn as one if there are more than
            `streams.charts.shares.MAX_LABELS`. The ring is whole, even if the percentages do not add up to 100.
        facts: what the shares are of. Without a share above 0 there is an empty ring, and "no posts".

    Raises:
        ValueError: a share is negative or not finite.
    """
    group = grouped([shares])
    (row,) = group.rows
    styles = styles_of(group.labels)
    total = sum(share.pct for share in row.values())
    shapes = header(facts.keyword, facts.subtitle, WIDTH)
    if total > 0:
        parts = [(row[label], row[label].pct / total) for label in group.labels]
        shapes += _ring(parts, styles)
        shapes += _middle(f"{facts.posts:,}", "post" if facts.posts == 1 else "posts")
        shapes += _legend([row[label] for label in group.labels], styles)
        shapes += rest_note(group.rest, _LEGEND_X, 112 + _ROW * len(parts) + 14, _COUNT_X - _LEGEND_X)
    else:
        shapes += _nothing(facts)
    return Figure(WIDTH, HEIGHT, f"Emotions: {drawable(facts.keyword)}", described(facts, shares), tuple(shapes))


def _ring(parts: Sequence[tuple[Share, float]], styles: dict[str, Style]) -> list[Shape]:
    areas: list[Shape] = []
    lines: list[Shape] = []
    numbers: list[Shape] = []
    names: list[tuple[float, float, str]] = []
    drawn = [(share, turns) for share, turns in parts if turns > 0]
    start = 0.0
    for index, (share, turns) in enumerate(drawn):
        style = styles[share.label]
        areas.append(Ring(_X, _Y, _OUTER, _INNER, start, start + turns, fill_of(style)))
        before = drawn[index - 1][1]
        if len(drawn) > 1 and min(before, turns) >= _SEPARATED_FROM:
            lines.append(Line(*_at(start, _INNER - 1), *_at(start, _OUTER + 1), PAPER, 2))
        middle = start + turns / 2
        if turns >= _NUMBERED_FROM:
            numbers += on_colour(*_at(middle, (_OUTER + _INNER) / 2), f"{whole(share.pct)} %", TEXT_SIZE, style)
        if turns >= _NAMED_FROM:
            names.append((turns, middle, share.label))
        start += turns
    return [*areas, *lines, *numbers, *_names(names)]


def _names(names: list[tuple[float, float, str]]) -> list[Shape]:
    """Returns the names beside the ring, without those of small parts that would cover the name of a larger one."""
    shapes: list[Shape] = []
    taken: list[_Box] = []
    for _, middle, label in sorted(names, reverse=True):
        x, y = _at(middle, _OUTER + 12)
        side = x - _X
        align: Align = "middle" if abs(side) < 0.2 * _OUTER else "left" if side > 0 else "right"
        room = 2 * (x - MARGIN) if align == "middle" else x - MARGIN if align == "right" else _LEGEND_X - 14 - x
        y += 4 * (-1 if y < _Y - 0.9 * _OUTER else 1 if y > _Y + 0.9 * _OUTER else 0)
        text = short_label(label, TEXT_SIZE, min(room, 110))
        width = text_width(text, TEXT_SIZE)
        left = x - {"left": 0.0, "middle": width / 2, "right": width}[align]
        box = (left, y - TEXT_SIZE * 0.65, left + width, y + TEXT_SIZE * 0.65)
        if not any(_overlap(box, other) for other in taken):
            taken.append(box)
            shapes.append(Text(x, y, text, TEXT_SIZE, INK, align))
    return shapes


def _middle(number: str, unit: str) -> list[Shape]:
    size = 30.0
    while text_width(number, size, bold=True) > 1.7 * _INNER:
        size -= 1
    return [
        Text(_X, _Y - 8, number, size, INK, "middle", bold=True),
        Text(_X, _Y + 20, unit, TEXT_SIZE, MUTED, "middle"),
    ]


def _legend(shares: Sequence[Share], styles: dict[str, Style]) -> list[Shape]:
    shapes: list[Shape] = [
        Text(_PCT_X, 100, "share", SMALL_SIZE, MUTED, "right"),
        Text(_COUNT_X, 100, "posts", SMALL_SIZE, MUTED, "right"),
        Line(_LEGEND_X, 111, _COUNT_X, 111, GRID),
    ]
    for index, share in enumerate(shares):
        y = 112 + _ROW * (index + 0.5) + 2
        colour = INK if share.pct > 0 else MUTED
        shapes += [
            key(_LEGEND_X, y, styles[share.label]),
            Text(_LEGEND_X + KEY_SIDE + 9, y, short_label(share.label), TEXT_SIZE, colour),
            Text(_PCT_X, y, percent(share.pct), TEXT_SIZE, colour, "right"),
            Text(_COUNT_X, y, f"{share.count:,}", TEXT_SIZE, MUTED, "right"),
        ]
    return shapes


def _nothing(facts: Facts) -> list[Shape]:
    room = WIDTH - _LEGEND_X - MARGIN
    when = "in this time" if facts.since is not None else "yet"
    name = shortened(drawable(facts.keyword), TEXT_SIZE, room)
    return [
        Ring(_X, _Y, _OUTER, _INNER, 0, 1, Fill(GRID)),
        *_middle("0", "posts"),
        Text(_LEGEND_X, _Y - 26, f"There are no posts {when} about", TEXT_SIZE + 3, INK),
        Text(_LEGEND_X, _Y, name, TEXT_SIZE, INK),
        Text(_LEGEND_X, _Y + 28, "The ring is empty because nothing was counted.", SMALL_SIZE, MUTED),
    ]


def _at(turns: float, radius: float) -> tuple[float, float]:
    return _X + radius * math.sin(2 * math.pi * turns), _Y - radius * math.cos(2 * math.pi * turns)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
