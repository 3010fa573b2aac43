"""Pies and bars of any numbers and texts. A warning fails a test."""

from __future__ import annotations

import gc
import io
import itertools
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from PIL import Image

from streams.charts.emotion_bars import Bar, emotion_bars
from streams.charts.emotion_pie import emotion_pie
from streams.charts.palette import COLOURS, REST, styles_of
from streams.charts.png import FONT, MISSING, with_boxes
from streams.charts.render import FORMATS, Format, render
from streams.charts.scene import Figure, Line, Rect, Ring, Text
from streams.charts.shares import MAX_LABELS, Facts, Share, grouped, percent, whole
from streams.charts.text import shortened, text_width
from tests.unit.colour_vision import lightness
from tests.unit.test_palette_vision import APART_IN_GREY

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FACTS = Facts("coffee", 8803, datetime(2026, 11, 15, tzinfo=UTC), NOON)
GO_EMOTIONS = [
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
]  # fmt: skip


def shares(*percentages: float, labels: list[str] | None = None) -> list[Share]:
    names = labels or list(COLOURS)
    return [Share(label, pct, round(pct * 88)) for label, pct in zip(names, percentages, strict=False)]


OURS = shares(31.2, 6.1, 10.4, 1.6, 7.8, 9.2, 1.1, 32.6)
MANY = shares(*(100 * (29 - n) / 434 for n in range(1, 29)), labels=GO_EMOTIONS)
TEXTS = [
    "coffee",
    "$x$",
    r"\$x_1$ \frac{}",
    "很高兴 🙂 👩‍👩‍👧",
    "שלום עולם",
    "مرحبا بالعالم",
    "नमस्ते",
    "<script>&amp;\"'</script>",
    "a\nb\tc\0d\x1b[31m\ud83d\ufffe",
    "\u202eright to left\u202c",
    "z" + "\u0300" * 500,
    "W" * 2000,
    "",
    "ﷺ﷽",
    "𒐫꧅",
]
CHARTS = {
    "ours": OURS,
    "one": shares(100),
    "one of all": shares(0, 0, 100, 0, 0, 0, 0, 0),
    "tiny": shares(99.9, 0.04, 0.03, 0.02, 0.01),
    "many": MANY,
    "none": [],
    "zeros": shares(*[0] * 8),
    "not 100": shares(20, 10),
    "equal": shares(*[12.5] * 8),
}


def both(numbers: list[Share], facts: Facts = FACTS) -> Iterator[Figure]:
    yield emotion_pie(numbers, facts)
    yield emotion_bars([Bar(facts, numbers)])
    yield emotion_bars([Bar(facts, numbers, apart=True), Bar(Facts("tea", 3), numbers[::-1]), Bar(Facts("-", 0), [])])


@pytest.mark.parametrize("numbers", CHARTS.values(), ids=CHARTS)
def test_any_numbers_are_drawn(numbers: list[Share]) -> None:
    for figure in both(numbers):
        picture = Image.open(io.BytesIO(render(figure, "png")))
        assert picture.size == (round(figure.width), round(figure.height))
        ElementTree.fromstring(render(figure, "svg"))


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_is_drawn_and_the_file_keeps_it(text: str) -> None:
    numbers = [Share(f"{text} 1", 60, 6), Share(f"{text} 2", 40, 4)]
    for figure in both(numbers, Facts(text, 10)):
        assert render(figure, "png")[:4] == b"\x89PNG"
        ElementTree.fromstring(render(figure, "svg"))


@pytest.mark.parametrize("text", ["$x$", "很高兴 🙂", "שלום", "<b>&"])
def test_an_svg_has_its_keyword_as_text(text: str) -> None:
    for figure in (emotion_pie(OURS, Facts(text, 3)), emotion_bars([Bar(Facts(text, 3), OURS)])):
        root = ElementTree.fromstring(render(figure, "svg"))
        assert text in [element.text for element in root.iter() if element.tag.endswith("}text")]


@pytest.mark.parametrize("text", [text for text in TEXTS if text])
def test_no_text_is_cut_at_an_edge_or_covers_another(text: str) -> None:
    numbers = [Share(f"{text} {number}", share.pct, share.count) for number, share in enumerate(MANY)]
    for figure in [*both(numbers, Facts(text, 123_456_789, NOON, NOON)), *both(OURS), *both(MANY), *both([])]:
        boxes = _boxes(figure)
        assert all(left >= 0 and right <= figure.width for _, left, _, right, _ in boxes), boxes
        assert all(top >= 0 and bottom <= figure.height for _, _, top, _, bottom in boxes), boxes
        for one, other in itertools.combinations(boxes, 2):
            apart = one[1] >= other[3] or other[1] >= one[3] or one[2] >= other[4] or other[2] >= one[4]
            assert apart, (one, other)


def test_widths_are_not_smaller_than_those_of_the_font() -> None:
    for character in [*map(chr, range(0x20, 0x7F)), *"äßéñøÅЖшщ…—’", "中", "🙂", "א", "ش"]:
        for bold in (False, True):
            text = with_boxes(character, "bold" if bold else "normal") * 20
            ((_, left, _, right, _),) = _boxes(Figure(900, 99, "", "", (Text(9, 50, text, 30, "#000000", bold=bold),)))
            assert right - left <= text_width(character * 20, 30, bold=bold) + 2, character


def test_a_shortened_text_fits() -> None:
    for text in TEXTS:
        assert text_width(shortened(text, 13, 100), 13) <= 100
    assert shortened("short", 13, 100) == "short"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_numbers_have_the_same_bytes_in_any_thread(kind: Format) -> None:
    figures = [emotion_pie(OURS, FACTS), emotion_pie(MANY, FACTS), emotion_bars([Bar(FACTS, OURS)])]
    expected = [render(figure, kind) for figure in figures]
    barrier = threading.Barrier(6)

    def draw(number: int) -> bytes:
        barrier.wait()
        return render(figures[number % 3], kind)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(draw, range(6))) == expected * 2


@pytest.mark.parametrize("numbers", CHARTS.values(), ids=CHARTS)
def test_a_png_is_small(numbers: list[Share]) -> None:
    figure = emotion_pie(numbers, FACTS)
    assert (figure.width, figure.height) == (800, 500)
    assert len(render(figure, "png")) < 40_000


def test_a_png_can_have_more_pixels() -> None:
    figure = emotion_pie(OURS, FACTS)
    assert Image.open(io.BytesIO(render(figure, "png", scale=2))).size == (1600, 1000)


def test_areas_have_the_exact_colours_of_the_palette() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(render(emotion_bars([Bar(FACTS, OURS)]), "png"))).convert("RGB"))
    found = {"#" + bytes(pixel).hex() for pixel in np.unique(pixels.reshape(-1, 3), axis=0)}
    assert {*COLOURS.values(), "#ffffff"} <= found


def test_another_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="a chart is one of png, svg, not 'gif'"):
        render(emotion_pie(OURS, FACTS), "gif")  # type: ignore[arg-type]


def test_a_png_has_no_date_and_an_svg_no_script_and_no_link() -> None:
    figure = emotion_pie(OURS, FACTS)
    assert Image.open(io.BytesIO(render(figure, "png"))).info == {}
    text = render(figure, "svg").decode().lower()
    assert not any(word in text for word in ("<script", "href", "onload", "<image", "<!doctype", "<foreignobject"))


def test_an_svg_says_its_numbers_to_those_who_do_not_see_it() -> None:
    root = ElementTree.fromstring(render(emotion_pie(OURS, FACTS), "svg"))
    ids = {element.get("id"): element.text for element in root.iter()}
    assert root.get("role") == "img"
    assert ids[root.get("aria-labelledby")] == "Emotions: coffee"
    assert ids[root.get("aria-describedby")] == (
        "\u2068coffee\u2069: 8,803 posts, since 2026-11-15 00:00 UTC, as of 2026-11-22 12:00 UTC. neutral 32.6 %, "
        "joy 31.2 %, anger 10.4 %, surprise 9.2 %, love 7.8 %, sadness 6.1 %, fear 1.6 %, disgust 1.1 %."
    )


def test_two_charts_in_one_page_have_different_ids() -> None:
    first, second = (render(emotion_pie(OURS, Facts(keyword, 9)), "svg").decode() for keyword in ("tea", "coffee"))
    ids = [{element.get("id") for element in ElementTree.fromstring(svg).iter()} - {None} for svg in (first, second)]
    assert len(ids[0]) > 2
    assert not ids[0] & ids[1]


def test_a_keyword_without_posts_has_a_picture_that_says_so() -> None:
    for figure in both(CHARTS["zeros"], Facts("quokka", 0, NOON, NOON)):
        texts = " ".join(shape.text for shape in figure.shapes if isinstance(shape, Text))
        assert "no posts" in texts
        assert "no posts" in figure.description


@pytest.mark.parametrize("numbers", CHARTS.values(), ids=CHARTS)
def test_the_parts_are_in_proportion_and_whole(numbers: list[Share]) -> None:
    rings = [shape for shape in emotion_pie(numbers, FACTS).shapes if isinstance(shape, Ring)]
    assert rings[0].start == 0
    assert rings[-1].stop == pytest.approx(1)
    assert all(one.stop == pytest.approx(other.start) for one, other in itertools.pairwise(rings))
    by_colour = {ring.fill.colour: ring.stop - ring.start for ring in rings}
    total = sum(share.pct for share in numbers)
    styles = styles_of(grouped([numbers]).labels)
    for share in grouped([numbers]).rows[0].values():
        if share.pct:
            assert by_colour[styles[share.label].colour] == pytest.approx(share.pct / total)


@pytest.mark.parametrize("numbers", [OURS, MANY, CHARTS["equal"], shares(0, 30, 40, 0, 0, 0, 30)])
def test_in_black_and_white_neighbours_differ_in_lightness_or_have_different_hatches(numbers: list[Share]) -> None:
    pie, bar, _ = both(numbers)
    rings = [shape for shape in pie.shapes if isinstance(shape, Ring)]
    bars = [shape for shape in bar.shapes if isinstance(shape, Rect) and shape.height == 64]
    assert len(rings) == len(bars) > 2
    for areas in ([*rings, rings[0]], bars):
        for one, other in itertools.pairwise(areas):
            difference = abs(lightness(one.fill.colour) - lightness(other.fill.colour))
            assert difference >= APART_IN_GREY or one.fill.hatch != other.fill.hatch


@pytest.mark.parametrize("numbers", [OURS, MANY, CHARTS["equal"]])
def test_in_a_grey_picture_neighbours_have_other_pixels(numbers: list[Share]) -> None:
    figure = emotion_bars([Bar(FACTS, numbers)])
    grey = np.asarray(Image.open(io.BytesIO(render(figure, "png"))).convert("L")).astype(float)
    bars = [shape for shape in figure.shapes if isinstance(shape, Rect) and shape.height == 64 and shape.width > 12]
    looks = []
    for area in bars:
        top = grey[round(area.y) + 3 : round(area.y) + 22, round(area.x) + 3 : round(area.x + area.width) - 3]
        looks.append((np.median(top), top.std()))
    for one, other in itertools.pairwise(looks):
        assert abs(one[0] - other[0]) >= 12 or abs(one[1] - other[1]) >= 4, looks


def test_the_names_of_the_larger_parts_are_beside_them() -> None:
    texts = [shape.text for shape in emotion_pie(OURS, FACTS).shapes if isinstance(shape, Text)]
    assert {label for label in COLOURS if texts.count(label) == 2} == {*COLOURS} - {"fear", "disgust"}
    assert all(texts.count(label) == 1 for label in ("fear", "disgust")), "these have no room beside the ring"


def test_small_parts_are_not_covered_by_white_lines() -> None:
    lines = [shape for shape in emotion_pie(CHARTS["tiny"], FACTS).shapes if isinstance(shape, Line)]
    assert len(lines) == 1, "the line of the legend"


def test_the_labels_with_fewest_posts_are_drawn_as_one_and_named() -> None:
    group = grouped([MANY])
    assert len(group.labels) == MAX_LABELS
    assert group.labels[-1] == REST
    assert group.rest == tuple(GO_EMOTIONS[MAX_LABELS - 1 :])
    assert sum(share.pct for share in group.rows[0].values()) == pytest.approx(sum(share.pct for share in MANY))
    assert sum(share.count for share in group.rows[0].values()) == sum(share.count for share in MANY)
    for figure in both(MANY):
        assert any(shape.text.startswith("other: ") for shape in figure.shapes if isinstance(shape, Text))


def test_few_labels_stay_as_they_are() -> None:
    group = grouped([shares(60, 40, labels=["spam", "ham"])])
    assert group.labels == ("ham", "spam")
    assert group.rest == ()


@pytest.mark.parametrize("share", [Share("joy", -1, 1), Share("joy", float("nan"), 1), Share("joy", 1, -1)])
def test_numbers_that_are_no_shares_are_an_error(share: Share) -> None:
    with pytest.raises(ValueError, match="the share of 'joy' is"):
        emotion_pie([share], FACTS)


def test_a_chart_of_no_bars_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        emotion_bars([])


@pytest.mark.parametrize(
    ("pct", "long", "short"),
    [(0, "0 %", "0"), (0.04, "<0.1 %", "0"), (12.5, "12.5 %", "13"), (99.7, "99.7 %", "99.7"), (100, "100 %", "100")],
)
def test_percentages(pct: float, long: str, short: str) -> None:
    assert (percent(pct), whole(pct)) == (long, short)


def test_characters_that_no_font_has_are_boxes() -> None:
    assert FONT == "DejaVu Sans"
    assert with_boxes("a𒐫é") == f"a{MISSING}é"


def test_drawing_many_charts_does_not_grow() -> None:
    def draw(first: int, last: int) -> int:
        for number in range(first, last):
            render(emotion_pie(OURS, Facts(f"keyword {number}", number)), "png")
            render(emotion_bars([Bar(Facts(f"keyword {number}", number), OURS)]), "svg")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = draw(0, 2)
    after = draw(2, 10)
    tracemalloc.stop()
    # A figure has more than this. matplotlib itself keeps the sizes of the last 4,096 texts, about 1 kB each.
    assert after - before < 8 * 80_000
    assert not any(type(each) is Canvas for each in gc.get_objects())


def _boxes(figure: Figure) -> list[tuple[str, float, float, float, float]]:
    """Returns each text with its left, upper, right and lower side in pixels, as matplotlib draws it."""
    canvas = Canvas(figsize=(figure.width / 100, figure.height / 100), dpi=100)
    renderer = FigureCanvasAgg(canvas).get_renderer()
    boxes = []
    for shape in figure.shapes:
        if isinstance(shape, Text):
            weight = "bold" if shape.bold else "normal"
            text = with_boxes(shape.text, weight)
            width, _, _ = renderer.get_text_width_height_descent(text, _font(shape.size, weight), False)
            left = shape.x - {"left": 0, "middle": width / 2, "right": width}[shape.align]
            boxes.append((shape.text, left, shape.y - shape.size / 2, left + width, shape.y + shape.size / 2))
    return boxes


def _font(size: float, weight: str):
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=[FONT], size=size * 0.72, weight=weight)
