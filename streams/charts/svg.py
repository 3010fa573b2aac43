"""Writes a figure as SVG, without a library. Texts stay texts, so that they can be searched, read aloud and restyled.

The file has no script, no link and no date: the same figure has the same bytes. Its title and description follow the
W3C's "SVG Accessibility API Mappings": `role="img"` with `aria-labelledby` and `aria-describedby`. Each text is
isolated from the direction of its surroundings, which the Unicode Bidirectional Algorithm (UAX 9) would reorder.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from xml.sax.saxutils import escape

from streams.charts.palette import HATCH_OPACITY
from streams.charts.scene import Figure, Fill, Line, Rect, Ring, Shape, Text
from streams.charts.text import BASELINE

_FONTS = "DejaVu Sans,Verdana,Noto Sans,Segoe UI,Apple Color Emoji,Noto Color Emoji,sans-serif"
_ANCHORS = {"left": "start", "middle": "middle", "right": "end"}
_HATCHES = {
    "rising": (8, "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4"),
    "falling": (8, "M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4"),
    "level": (7, "M0,3.5 h7"),
    "upright": (7, "M3.5,0 v7"),
    "crossed": (9, "M0,0 l9,9 M0,9 l9,-9"),
    "dotted": (7, "M2.3,3.5 a1.2,1.2 0 1 0 2.4,0 a1.2,1.2 0 1 0 -2.4,0"),
}
"""Side of the tile in pixels and path of each hatch. The keys are those of `streams.charts.palette.HATCHES`."""


def to_svg(figure: Figure) -> bytes:
    """Returns the figure as an SVG document in UTF-8."""
    fills = sorted(
        {(fill.hatch, fill.hatch_colour) for fill in map(_fill_of, figure.shapes) if fill is not None and fill.hatch}
    )
    # A page may contain several charts, whose ids must differ.
    name = hashlib.sha256(repr(figure).encode()).hexdigest()[:10]
    patterns = {fill: f"h{name}-{index}" for index, fill in enumerate(fills)}
    width, height = _number(figure.width), _number(figure.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-labelledby="t{name}" aria-describedby="d{name}" font-family="{_FONTS}">',
        f'<title id="t{name}">{escape(figure.title)}</title>',
        f'<desc id="d{name}">{escape(figure.description)}</desc>',
    ]
    if patterns:
        lines += ["<defs>", *(_pattern(*fill, patterns[fill]) for fill in fills), "</defs>"]
    lines.append(f'<rect width="{width}" height="{height}" fill="#ffffff"/>')
    lines += [line for shape in figure.shapes for line in _drawn(shape, patterns)]
    return "\n".join([*lines, "</svg>", ""]).encode()


def _fill_of(shape: Shape) -> Fill | None:
    return shape.fill if isinstance(shape, Rect | Ring) else None


def _pattern(hatch: str, colour: str, name: str) -> str:
    side, path = _HATCHES[hatch]
    paint = f'fill="{colour}"' if hatch == "dotted" else f'fill="none" stroke="{colour}" stroke-width="1.2"'
    return (
        f'<pattern id="{name}" width="{side}" height="{side}" patternUnits="userSpaceOnUse">'
        f'<path d="{path}" {paint} opacity="{HATCH_OPACITY}"/></pattern>'
    )


def _drawn(shape: Shape, patterns: dict[tuple[str, str], str]) -> Iterable[str]:
    match shape:
        case Text():
            weight = ' font-weight="bold"' if shape.bold else ""
            anchor = f' text-anchor="{_ANCHORS[shape.align]}"' if shape.align != "left" else ""
            yield (
                f'<text x="{_number(shape.x)}" y="{_number(shape.y + BASELINE * shape.size)}" '
                f'font-size="{_number(shape.size)}" fill="{shape.colour}"{weight}{anchor} '
                f'style="unicode-bidi:isolate;white-space:pre">{escape(shape.text)}</text>'
            )
        case Line():
            yield (
                f'<path d="M{_number(shape.x1)},{_number(shape.y1)} L{_number(shape.x2)},{_number(shape.y2)}" '
                f'stroke="{shape.colour}" stroke-width="{_number(shape.width)}"/>'
            )
        case Rect():
            size = f'width="{_number(shape.width)}" height="{_number(shape.height)}"'
            yield from _filled(f'<rect x="{_number(shape.x)}" y="{_number(shape.y)}" {size}', shape.fill, patterns)
        case Ring():
            yield from _filled(f'<path fill-rule="evenodd" d="{_ring(shape)}"', shape.fill, patterns)


def _filled(element: str, fill: Fill, patterns: dict[tuple[str, str], str]) -> Iterable[str]:
    edge = f' stroke="{fill.edge}"' if fill.edge else ""
    yield f'{element} fill="{fill.colour or "none"}"{edge}/>'
    if fill.hatch:
        yield f'{element} fill="url(#{patterns[fill.hatch, fill.hatch_colour]})"/>'


def _ring(ring: Ring) -> str:
    """Returns the path of a part of a ring. A whole ring is two circles, as an arc cannot end where it begins."""
    if ring.stop - ring.start >= 1:
        return " ".join(
            f"M{_number(ring.x)},{_number(ring.y - radius)} "
            + " ".join(
                f"A{_number(radius)},{_number(radius)} 0 0 1 {_number(ring.x)},{_number(ring.y + side * radius)}"
                for side in (1, -1)
            )
            + " Z"
            for radius in (ring.outer, ring.inner)
        )
    large = int(ring.stop - ring.start > 0.5)
    outer, inner = _number(ring.outer), _number(ring.inner)
    return (
        f"M{_point(ring, ring.outer, ring.start)} A{outer},{outer} 0 {large} 1 {_point(ring, ring.outer, ring.stop)} "
        f"L{_point(ring, ring.inner, ring.stop)} A{inner},{inner} 0 {large} 0 {_point(ring, ring.inner, ring.start)} Z"
    )


def _point(ring: Ring, radius: float, turns: float) -> str:
    angle = 2 * math.pi * turns
    return f"{_number(ring.x + radius * math.sin(angle))},{_number(ring.y - radius * math.cos(angle))}"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
