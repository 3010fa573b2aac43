"""The scatter plot can draw any rows of its view. A warning fails a test. test_share_chart.py tests the bars."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.transforms import Bbox

from streams.charts.palette import COLOURS
from streams.ops.bi.queries import ScatterPoint
from streams.ops.bi.scatter_chart import (
    DPI,
    LARGEST,
    MAX_EMOTIONS,
    MAX_NAMED,
    SMALLEST,
    area_of,
    draw_scatter,
    most_frequent,
    name_outliers,
)

SCRIPT = Path(__file__).parents[2] / "scripts/bi_charts.py"


def point(keyword: str, emotion: str = "joy", posts: int = 100, percent: float = 20, **fields: float) -> ScatterPoint:
    score = fields.get("score", 0.0)
    return ScatterPoint(
        keyword, emotion, posts, percent, fields.get("confidence", 0.8), score > 3.5, posts >= 30, score
    )


@pytest.mark.parametrize(
    "points",
    [
        [],
        [point("tea")],
        [point("tea", score=9.0, percent=100, confidence=1.0)],
        [point("很高兴 🙂 $x$", "größer als", score=9.0), point("x" * 100, "_hidden", posts=1)],
        [point("tea", f"label {number}", posts=number + 1) for number in range(MAX_EMOTIONS + 9)],
    ],
    ids=["none", "one", "corner", "odd", "many"],
)
def test_any_points_are_drawn(tmp_path: Path, points: list[ScatterPoint]) -> None:
    draw_scatter(points, tmp_path / "new" / "chart.png", subtitle="a test")
    assert (tmp_path / "new" / "chart.png").read_bytes()[:4] == b"\x89PNG"


def test_points_with_too_few_posts_to_judge_have_the_full_colour_of_their_emotion(tmp_path: Path) -> None:
    few = [point("tea", "joy", 3, 20), point("rain", "sadness", 4, 60), point("bus", "anger", 1, 90)]
    draw_scatter(few, tmp_path / "chart.png", subtitle="a test")
    pixels = imread(tmp_path / "chart.png")[200:-200, 200:-300, :3]  # without the legend
    for each in few:
        distance = abs(pixels - to_rgb(COLOURS[each.emotion])).sum(axis=2)
        assert (distance < 0.1).sum() >= 10, f"{each.emotion} is too pale"


def names_of(points: list[ScatterPoint]) -> dict[ScatterPoint, Bbox]:
    figure = Figure(figsize=(10, 7), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlim(0, 100)
    axes.set_ylim(0.3, 1)
    return name_outliers(axes, points, 100)


def test_names_do_not_cover_each_other_however_close_their_marks_are() -> None:
    crowd = [point(f"keyword {n}", percent=20 + n % 5, confidence=0.8 + n % 7 / 100, score=4.0 + n) for n in range(40)]
    boxes = list(names_of(crowd).values())
    assert 3 <= len(boxes) <= MAX_NAMED
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])


def test_outliers_are_named_and_nothing_else_is() -> None:
    outliers = [point(f"keyword {n}", percent=10 * n, confidence=0.4 + n / 20, score=4.0 + n) for n in range(9)]
    assert set(names_of([*outliers, point("usual", percent=50, confidence=0.5)])) == set(outliers)


def test_of_many_outliers_those_with_the_highest_scores_are_named() -> None:
    outliers = [point(f"k {n}", percent=5 * n, confidence=0.35 + n / 40, score=4.0 + n) for n in range(MAX_NAMED + 5)]
    assert set(names_of(outliers)) == set(outliers[5:])


def test_areas_are_in_proportion_to_posts() -> None:
    assert area_of(1000, 1000) == LARGEST
    assert area_of(500, 1000) == LARGEST / 2
    assert area_of(1, 1000) == SMALLEST


def test_of_many_emotions_those_with_most_posts_are_kept() -> None:
    points = [point("tea", f"label {number:02}", posts=number) for number in range(1, MAX_EMOTIONS + 5)]
    assert most_frequent(points) == points[4:]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=180, check=False
    )


def test_the_script_has_a_help_text() -> None:
    found = run("--help")
    assert found.returncode == 0
    assert "PGPASSWORD" in found.stdout


def test_a_server_that_does_not_answer_is_an_error_of_one_line(tmp_path: Path) -> None:
    found = run("--dsn", "postgresql://tableau:secret@127.0.0.1:1/emostream", "--out", str(tmp_path))
    assert found.returncode == 1
    assert found.stderr.startswith(
        "emostream: error: PostgreSQL did not answer while connecting to 127.0.0.1:1/emostream"
    )
    assert found.stderr.count("\n") == 1
    assert "secret" not in found.stderr
    assert list(tmp_path.iterdir()) == []
