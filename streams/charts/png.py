"""Draws a figure as a PNG with matplotlib, through its object interface.

pyplot keeps every figure in a global list; `Figure` and `FigureCanvasAgg` keep nothing. Texts are shaped and put into
their direction by matplotlib 3.11. Formulas (`$x$`) are off. A character that no font has becomes a box before it is
measured, because matplotlib would warn about it, and warnings cannot be switched off for one thread alone.
"""

from __future__ import annotations

import io
import unicodedata
from functools import lru_cache
from threading import Lock
from typing import Final

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle, Wedge
from matplotlib.transforms import Affine2D, Transform
from PIL import Image

from streams.charts.palette import HATCH_OPACITY, PAPER
from streams.charts.scene import Figure, Fill, Line, Rect, Ring, Shape, Text
from streams.charts.text import BASELINE

FONT: Final = "DejaVu Sans"
"""The font of all texts. It comes with matplotlib, so that the pictures of all machines are alike."""

FALLBACK_FONTS: Final = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Emoji", "Noto Sans Devanagari", "Noto Sans Bengali",
    "Noto Sans Tamil", "Noto Sans Thai", "WenQuanYi Zen Hei", "Unifont",
)  # fmt: skip
"""Fonts for characters that `FONT` lacks, in this order, if they are installed."""

MISSING: Final = "□"
"""Stands for a character that no font has."""

_WITHOUT_WIDTH: Final = ("Mn", "Me", "Cf")
"""Categories of characters that change the one before them and need no box of their own."""

_DPI: Final = 100
_COLOURS: Final = 192
"""Colours of the file. The edges of shapes need some dozens for each colour; more only make the file larger."""

_NEAR: Final = 24
"""Sum of the differences in red, green and blue up to which a colour of the palette stands for one of the figure."""

_HATCHES: Final = {
    "rising": "////",
    "falling": "\\\\\\\\",
    "level": "----",
    "upright": "||||",
    "crossed": "xxx",
    "dotted": "..",
}
_ONE_AT_A_TIME: Final = Lock()
"""matplotlib is not thread-safe: figures share fonts and their caches. A drawing takes some ten milliseconds."""


def to_png(figure: Figure, scale: float = 1.0) -> bytes:
    """Returns the figure as a PNG with `scale` device pixels for each of its pixels. Any thread may call it."""
    with _ONE_AT_A_TIME:
        canvas = Canvas(figsize=(figure.width / _DPI, figure.height / _DPI), dpi=_DPI * scale, facecolor="white")
        agg = FigureCanvasAgg(canvas)
        # The figure has its origin in the upper left corner, matplotlib in the lower left one.
        pixels = Affine2D().scale(scale, -scale).translate(0, round(figure.height * scale))
        for shape in figure.shapes:
            _add(canvas, shape, pixels)
        agg.draw()  # type: ignore[no-untyped-call]  # matplotlib has no types for it
        buffer = agg.buffer_rgba()  # type: ignore[no-untyped-call]  # matplotlib has no types for it
        image = Image.frombuffer("RGBA", agg.get_width_height(), buffer).convert("RGB")
    out = io.BytesIO()
    _with_palette(image, figure).save(out, "PNG", compress_level=6)
    return out.getvalue()


def _with_palette(image: Image.Image, figure: Figure) -> Image.Image:
    """Returns the image with `_COLOURS` colours, a third of the bytes. Areas keep the exact colours of the figure.

    The octree is the fastest method of Pillow. Its colours are means of similar ones, so those of areas are put right.
    """
    small = image.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    entries = np.array(small.getpalette(), dtype=np.int16).reshape(-1, 3)
    exact = {PAPER, *(colour for shape in figure.shapes for colour in _colours_of(shape) if colour)}
    put_right: set[int] = set()
    for wanted in sorted(map(_bytes, exact)):
        errors = np.abs(entries - wanted).sum(axis=1)
        nearest = int(errors.argmin())
        if errors[nearest] <= _NEAR and nearest not in put_right:
            entries[nearest] = wanted
            put_right.add(nearest)
    small.putpalette(entries.astype(np.uint8).tobytes())
    return small


def _bytes(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _colours_of(shape: Shape) -> tuple[str, ...]:
    return (shape.colour,) if isinstance(shape, Text | Line) else (shape.fill.colour, shape.fill.edge)


@lru_cache(maxsize=1)
def fonts() -> tuple[str, ...]:
    """Returns `FONT`, and those of `FALLBACK_FONTS` that are installed."""
    installed = set(font_manager.get_font_names())
    return (FONT, *(name for name in FALLBACK_FONTS if name in installed))


@lru_cache(maxsize=2)
def _characters(weight: str) -> frozenset[int]:
    found: set[int] = set()
    for name in fonts():
        path = font_manager.findfont(font_manager.FontProperties(family=[name], weight=weight))
        found.update(font_manager.get_font(path).get_charmap())
    return frozenset(found)


def with_boxes(text: str, weight: str = "normal") -> str:
    """Returns the text with `MISSING` in place of each character that no font of this weight has."""
    known = _characters(weight)
    return "".join(c if ord(c) in known else "" if unicodedata.category(c) in _WITHOUT_WIDTH else MISSING for c in text)


def _add(canvas: Canvas, shape: Shape, pixels: Transform) -> None:
    if isinstance(shape, Text):
        weight = "bold" if shape.bold else "normal"
        canvas.text(
            shape.x,
            shape.y + BASELINE * shape.size,
            with_boxes(shape.text, weight),
            transform=pixels,
            fontsize=shape.size * 72 / _DPI,
            family=list(fonts()),
            weight=weight,
            color=shape.colour,
            ha={"left": "left", "middle": "center", "right": "right"}[shape.align],
            va="baseline",
            parse_math=False,
        )
    elif isinstance(shape, Line):
        canvas.add_artist(
            Line2D(
                (shape.x1, shape.x2),
                (shape.y1, shape.y2),
                transform=pixels,
                color=shape.colour,
                linewidth=shape.width * 72 / _DPI,
            )
        )
    else:
        canvas.add_artist(_patch(shape, pixels))


def _patch(shape: Rect | Ring, pixels: Transform) -> Patch:
    patch: Patch
    if isinstance(shape, Rect):
        patch = Rectangle((shape.x, shape.y), shape.width, shape.height)
    else:
        # With the y axis downwards, matplotlib's angles go clockwise, from the right instead of from the top.
        start, stop = 360 * shape.start - 90, 360 * min(shape.stop, shape.start + 1) - 90
        patch = Wedge((shape.x, shape.y), shape.outer, start, stop, width=shape.outer - shape.inner)
    patch.set_transform(pixels)
    _paint(patch, shape.fill)
    return patch


def _paint(patch: Patch, fill: Fill) -> None:
    patch.set_facecolor(fill.colour or "none")
    patch.set_edgecolor(fill.edge or "none")
    patch.set_linewidth(72 / _DPI if fill.edge else 0)
    if fill.hatch:
        patch.set_hatch(_HATCHES[fill.hatch])
        patch.set_hatchcolor(to_rgba(fill.hatch_colour, HATCH_OPACITY))
        patch.set_hatch_linewidth(0.9)
