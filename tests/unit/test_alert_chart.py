"""The chart of an incident: any values, any texts, gaps, and a small file. A warning fails a test."""

from __future__ import annotations

import io
from datetime import timedelta
from itertools import pairwise

import pytest
from PIL import Image

from streams.charts.alert_chart import HEIGHT, WIDTH, alert_chart
from streams.charts.palette import COLOURS, MUTED
from streams.charts.render import render
from streams.charts.scene import Line, Rect, Text
from streams.records import AlertPoint, AlertRecord
from tests.unit.alert_records import BEGAN, reason, record

VALUE, LIMIT = COLOURS["sadness"], COLOURS["anger"]


def points(*values: float | None, usual: float | None = None, posts: int = 9) -> tuple[AlertPoint, ...]:
    return tuple(
        AlertPoint(BEGAN + timedelta(minutes=5 * (n - len(values) + 1)), posts, value, usual)
        for n, value in enumerate(values)
    )


def lines(found: AlertRecord, colour: str, width: float) -> list[Line]:
    shapes = alert_chart(found).shapes
    return [shape for shape in shapes if isinstance(shape, Line) and (shape.colour, shape.width) == (colour, width)]


def texts(found: AlertRecord) -> list[str]:
    return [shape.text for shape in alert_chart(found).shapes if isinstance(shape, Text)]


@pytest.mark.parametrize(
    "found",
    [
        record(),
        record(reason=reason(points=())),
        record(reason=reason(points=points(5.0))),
        record(reason=reason(points=points(None, None))),
        record(reason=reason(points=points(0.0, 0.0), limit=0.0)),
        record(reason=reason(points=points(1e12, 3.0, None, 1e-9), limit=1e9)),
        record(reason=reason(points=points(*[float(n % 7) for n in range(2_000)], usual=3.0))),
        record(measure="volume", label=None, size=86_400, reason=reason(points=points(4.0, 5.0))),
        record(keyword="$x$ 很高兴 🙂 \u202eevil", label="größer als", reason=reason(summary="long \u202e " * 200)),
    ],
    ids=["usual", "none", "one", "gaps", "zero", "huge", "many", "volume", "odd"],
)
def test_any_incident_is_drawn_as_a_small_file(found: AlertRecord) -> None:
    picture = render(alert_chart(found), "png")
    assert len(picture) <= 100_000
    assert Image.open(io.BytesIO(picture)).size == (WIDTH, HEIGHT)
    assert render(alert_chart(found), "svg").startswith(b"<svg")


def test_every_shape_is_inside_the_figure() -> None:
    for shape in alert_chart(record(reason=reason(points=points(1e12, 3.0, 0.0), limit=5.0))).shapes:
        if isinstance(shape, Line):
            assert 0 <= min(shape.x1, shape.x2) <= max(shape.x1, shape.x2) <= WIDTH
            assert 0 <= min(shape.y1, shape.y2) <= max(shape.y1, shape.y2) <= HEIGHT
        elif isinstance(shape, Rect):
            assert 0 <= shape.y <= shape.y + shape.height <= HEIGHT


def test_a_window_without_data_is_a_gap_and_a_lone_one_a_dot() -> None:
    found = record(reason=reason(points=points(1.0, 2.0, None, 4.0, None, 6.0, 7.0)))
    assert len(lines(found, VALUE, 2.5)) == 2
    dots = [s for s in alert_chart(found).shapes if isinstance(s, Rect) and s.fill.colour == VALUE]
    assert len(dots) == 1


def test_an_absent_window_is_a_gap_too() -> None:
    apart = points(1.0, 2.0, 3.0, 4.0)
    assert len(lines(record(reason=reason(points=(*apart[:1], *apart[2:]))), VALUE, 2.5)) == 1


def test_higher_values_are_higher_and_the_begin_is_marked() -> None:
    found = record(reason=reason(points=points(10.0, 20.0, 30.0), limit=25.0))
    first, second = lines(found, VALUE, 2.5)
    assert first.y1 > first.y2 == second.y1 > second.y2
    level, mark = sorted(lines(found, LIMIT, 1.5), key=lambda line: line.y1 != line.y2)
    assert second.y1 > level.y1 > second.y2
    assert mark.x1 == mark.x2
    assert second.x1 < mark.x1 < second.x2
    assert "began 12:00" in texts(found)


def test_the_usual_value_is_dashed_and_named() -> None:
    found = record(reason=reason(points=points(10.0, 20.0, usual=12.0), limit=15.0))
    assert len(lines(found, MUTED, 1.5)) > 5
    assert {"value 20", "usual 12", "limit 15"} <= set(texts(found))
    assert "usual 12" not in texts(record(reason=reason(points=points(10.0, 20.0))))


def test_names_do_not_cover_each_other() -> None:
    found = record(reason=reason(points=points(10.0, 10.0, usual=10.1), limit=10.05))
    heights = sorted(
        shape.y
        for shape in alert_chart(found).shapes
        if isinstance(shape, Text) and shape.text.split(" ")[0] in ("value", "usual", "limit")
    )
    assert len(heights) == 3
    assert min(b - a for a, b in pairwise(heights)) >= 12


def test_the_chart_in_words_and_without_marks_of_direction() -> None:
    figure = alert_chart(
        record(keyword="\u202eevil", reason=reason(summary="about \u202eevil", points=points(1.0, 2.0)))
    )
    assert figure.description == "about evil The value of 2 windows was between 1 and 2 percent; the limit is 30."
    drawn = [shape.text for shape in figure.shapes if isinstance(shape, Text)]
    assert "\u202e" not in "".join([figure.title, *drawn])


@pytest.mark.parametrize(("limit", "value"), [(1.79e308, 5.0), (5e-324, 0.0), (1e-320, None), (10.0, 1e300)])
def test_any_limit_and_any_value_can_be_drawn(limit: float, value: float | None) -> None:
    found = record(reason=reason(limit=limit, points=points(value, value)))
    assert render(alert_chart(found), "png").startswith(b"\x89PNG")
