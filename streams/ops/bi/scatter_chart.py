"""Draws the scatter plot of confidence against share as a PNG: a mark for each keyword and emotion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from streams.charts.palette import GRID, INK, MUTED, colour_of, label_order
from streams.charts.parts import MARGIN, TEXT_SIZE, TITLE_SIZE
from streams.charts.png import fonts, with_boxes
from streams.charts.text import drawable, shortened
from streams.ops.bi.queries import ScatterPoint

DPI = 150

MAX_EMOTIONS = 16
"""The most emotions that are drawn: those with most posts."""

MAX_NAMED = 15
"""The most outliers that have their name written beside them: those with the highest scores."""

SMALLEST, LARGEST = 16.0, 320.0
"""The smallest and the largest area of a mark, in square points."""

DIRECTIONS = [(1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1)]
DISTANCES = (6.0, 12.0, 20.0, 30.0)
"""Places that are tried for a name: directions from its mark, and distances from the mark's edge in points."""

LOOKS = ((False, False, 0.15, None, 1.4), (False, True, 0.6, "none", 0.0), (True, True, 0.95, INK, 1.6))
"""The looks of a mark: whether the point is an outlier, whether it is judged, how opaque its area is, and the colour
(None for its own) and the width of its edge in points. So a point with too few posts to judge is a ring."""

MARKERS = "osD^vPXphd<>*8H"
"""Shapes of the marks: one for each emotion, so that colour is not their only difference."""

PT = 0.72
"""Points of a pixel of `streams.charts`, of which this chart is 1,000 wide and 700 high."""

NAME_ROOM = 130.0
"""The most room of a keyword or an emotion, in such pixels. Longer names are cut."""


def draw_scatter(points: Sequence[ScatterPoint], path: Path, *, subtitle: str) -> None:
    """Draw the points and write the chart to `path`. The area of a mark is in proportion to its posts."""
    points = most_frequent(points)
    emotions = label_order(point.emotion for point in points)
    figure = Figure(figsize=(10, 7), dpi=DPI)
    FigureCanvasAgg(figure)  # needed to measure the names
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.08, right=0.83, top=0.86, bottom=0.1)
    left = MARGIN / 1000
    title = "Confidence against share"
    figure.text(left, 1 - 34 / 700, title, fontsize=TITLE_SIZE * PT, color=INK, weight="bold", va="center")
    figure.text(
        left, 1 - 60 / 700, _shown(subtitle, 950), fontsize=TEXT_SIZE * PT, color=MUTED, va="center", parse_math=False,
        family=list(fonts()),
    )  # fmt: skip
    _draw_axes(axes, points)
    most = max((point.posts for point in points), default=1)
    for layer, (outlier, judged, alpha, edge, width) in enumerate(LOOKS):
        for emotion, marker in zip(emotions, cycle(MARKERS), strict=False):
            shown = [p for p in points if (p.outlier, p.judged, p.emotion) == (outlier, judged, emotion)]
            colour = colour_of(emotion, emotions)
            axes.scatter(
                [point.percent for point in shown],
                [point.confidence for point in shown],
                s=[area_of(point.posts, most) for point in shown],
                marker=marker,
                facecolors=[to_rgba(colour, alpha)],
                edgecolors=edge or colour,
                linewidths=width,
                clip_on=False,
                zorder=3 + layer,
            )
    _draw_legend(figure, axes, emotions, most)
    name_outliers(axes, points, most)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _shown(text: str, room: float = NAME_ROOM) -> str:
    return with_boxes(shortened(drawable(text), TEXT_SIZE, room))


def most_frequent(points: Sequence[ScatterPoint]) -> list[ScatterPoint]:
    """Returns the points of the `MAX_EMOTIONS` emotions with most posts."""
    totals: dict[str, int] = {}
    for point in points:
        totals[point.emotion] = totals.get(point.emotion, 0) + point.posts
    kept = sorted(totals, key=lambda emotion: (-totals[emotion], emotion))[:MAX_EMOTIONS]
    return [point for point in points if point.emotion in kept]


def area_of(posts: int, most: int) -> float:
    """Returns the area of a mark in square points: in proportion to its posts, but at least `SMALLEST`.

    `most` is the number of posts whose mark has the area `LARGEST`.
    """
    return max(SMALLEST, LARGEST * posts / most)


def _draw_axes(axes: Axes, points: Sequence[ScatterPoint]) -> None:
    low = min((point.confidence for point in points), default=0.0)
    axes.set_xlim(0, max(10.0, 1.06 * max((point.percent for point in points), default=0.0)))
    # The axis does not begin at zero, because with n labels the most probable one has at least 1/n.
    axes.set_ylim(math.floor(10 * low - 0.2) / 10, 1)
    axes.set_xlabel("share of the keyword's posts, percent", color=MUTED, fontsize=9)
    axes.set_ylabel("mean confidence of the model", color=MUTED, fontsize=9)
    axes.grid(color=GRID, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=MUTED, labelsize=8)
    axes.spines[:].set_visible(False)


def _draw_legend(figure: Figure, axes: Axes, emotions: Sequence[str], most: int) -> None:
    def mark(area: float, colour: str, edge: str, marker: str = "o") -> Line2D:
        return Line2D(
            [], [], linestyle="", marker=marker, markersize=math.sqrt(area), color=colour, markeredgecolor=edge,
            markeredgewidth={INK: 1.6, MUTED: 1.4}.get(edge, 0.0),
        )  # fmt: skip

    colours = [
        mark(64, colour_of(emotion, emotions), "none", marker)
        for emotion, marker in zip(emotions, cycle(MARKERS), strict=False)
    ]
    names = [_shown(emotion) for emotion in emotions]
    top = axes.get_position().y1
    emotion_legend = figure.legend(
        colours, names, loc="upper left", bbox_to_anchor=(0.845, top), frameon=False, borderaxespad=0,
        labelspacing=0.6, labelcolor=INK, prop={"family": list(fonts()), "size": 9},
    )  # fmt: skip
    for text in emotion_legend.get_texts():
        text.set_parse_math(False)
    sizes = [mark(area_of(posts, most), "#b4b9be", "none") for posts in (most, max(1, most // 4))]
    labels = [f"{most:,} posts", f"{max(1, most // 4):,} posts"]
    figure.legend(
        [*sizes, mark(36, "white", MUTED), mark(64, "#b4b9be", INK)],
        [*labels, "too few to judge", "outlier"],
        loc="lower left",
        bbox_to_anchor=(0.845, axes.get_position().y0), frameon=False, fontsize=9, borderaxespad=0, labelspacing=1.1,
        labelcolor=MUTED,
    )  # fmt: skip


def name_outliers(axes: Axes, points: Sequence[ScatterPoint], most: int) -> dict[ScatterPoint, Bbox]:
    """Write keyword and emotion beside each outlier, at a place that covers no other name and no outlier.

    The outliers with the highest scores are named first. An outlier without such a place has no name.

    Returns:
        The boxes of the names, in pixels.
    """
    outliers = sorted((point for point in points if point.outlier), key=lambda point: -point.score)[:MAX_NAMED]
    frame = Bbox.from_extents(0, axes.bbox.y0, axes.bbox.x1, axes.bbox.y1 + DPI / 6)
    others = [_box_of(axes, point, most) for point in points if point.judged and not point.outlier]
    taken = [_box_of(axes, point, most) for point in points if point.outlier]
    names: dict[ScatterPoint, Bbox] = {}
    for point in outliers:
        name = _place(axes, point, most, frame, [*taken, *others]) or _place(axes, point, most, frame, taken)
        if name is not None:
            names[point] = name
            taken.append(name)
    return names


def _place(axes: Axes, point: ScatterPoint, most: int, frame: Bbox, taken: Sequence[Bbox]) -> Bbox | None:
    for dx, dy in _offsets(_radius(point, most)):
        name = _annotate(axes, point, dx, dy)
        name.get_window_extent()  # moves the text to its place; its result includes the line to the mark
        box = Text.get_window_extent(name)
        inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return box
        name.remove()
    return None


def _radius(point: ScatterPoint, most: int) -> float:
    return math.sqrt(area_of(point.posts, most) / math.pi)


def _box_of(axes: Axes, point: ScatterPoint, most: int) -> Bbox:
    x, y = axes.transData.transform((point.percent, point.confidence))
    radius = _radius(point, most) * DPI / 72
    return Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)


def _offsets(radius: float) -> Iterator[tuple[float, float]]:
    for distance in DISTANCES:
        for x, y in DIRECTIONS:
            length = (radius + distance) / math.hypot(x, y)
            yield x * length, y * length


def _annotate(axes: Axes, point: ScatterPoint, dx: float, dy: float) -> Annotation:
    return axes.annotate(
        f"{_shown(point.keyword)} ({_shown(point.emotion)})",
        (point.percent, point.confidence),
        (dx, dy),
        textcoords="offset points",
        ha="left" if dx > 0 else "right" if dx < 0 else "center",
        va="center" if dy == 0 else "bottom" if dy > 0 else "top",
        fontsize=8.5,
        family=list(fonts()),
        parse_math=False,
        color=INK,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        zorder=6,
    )
