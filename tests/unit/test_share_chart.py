"""The chart of keywords can draw the labels of any model. A warning fails a test. See also test_emotion_charts.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.charts.scene import Rect, Text
from streams.charts.shares import MAX_LABELS
from streams.ops.bi.share_chart import MAX_KEYWORDS, KeywordShare, draw_shares, shares_figure

MANY = [f"label number {number}" for number in range(MAX_LABELS + 9)]


@pytest.mark.parametrize(
    "labels",
    [
        ["joy", "sadness", "anger", "fear", "love", "surprise"],
        MANY,
        ["_hidden", "a $formula$", "größer als 🙂", "很高兴", "x" * 100],
    ],
    ids=["ours", "many", "odd"],
)
def test_any_labels_are_drawn(tmp_path: Path, labels: list[str]) -> None:
    shares = [KeywordShare("*", dict.fromkeys(labels, 5)), KeywordShare("tea", {labels[0]: 3})]
    draw_shares(shares, tmp_path / "new" / "chart.png", subtitle="a test")
    assert (tmp_path / "new" / "chart.png").read_bytes()[:4] == b"\x89PNG"


def test_unsupported_posts_are_beside_the_bar() -> None:
    shares = [KeywordShare("*", {"joy": 1_000_000}, unsupported=250_000), KeywordShare("tea", {"joy": 3})]
    texts = [shape.text for shape in shares_figure(shares, subtitle="").shapes if isinstance(shape, Text)]
    assert {"posts +unsupported", "1,000,000 +250,000", "3", "all posts", "tea"} <= set(texts)


def test_without_unsupported_posts_nothing_is_said_of_them() -> None:
    figure = shares_figure([KeywordShare("tea", {"joy": 3}), KeywordShare("rain", {"joy": 1})], subtitle="a test")
    texts = [shape.text for shape in figure.shapes if isinstance(shape, Text)]
    assert {"posts", "3", "1", "a test"} <= set(texts)


def test_the_keywords_with_most_posts_are_drawn() -> None:
    shares = [KeywordShare("*", {"joy": 99}), *(KeywordShare(f"k{n:02}", {"joy": 99 - n}) for n in range(40))]
    texts = [shape.text for shape in shares_figure(shares, subtitle="").shapes if isinstance(shape, Text)]
    assert [text for text in texts if text.startswith("k")] == [f"k{n:02}" for n in range(MAX_KEYWORDS)]


def test_a_bar_is_as_wide_as_the_posts_of_the_label() -> None:
    figure = shares_figure([KeywordShare("tea", {"joy": 3, "anger": 1}), KeywordShare("-", {})], subtitle="")
    joy, anger = (
        shape.width
        for shape in figure.shapes
        if isinstance(shape, Rect) and shape.height == 26 and shape.fill.colour in ("#e6bd13", "#a81f0d")
    )
    assert joy == pytest.approx(3 * anger)
