"""The chart can draw the labels of any model. A warning fails a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streams.ops.bi.share_chart import MAX_LABELS, OTHER_LABELS, KeywordShare, draw_shares, fewer_labels

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
    draw_shares(shares, tmp_path / "chart.png", subtitle="a test")
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"


def test_unsupported_posts_are_beside_the_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _path: drawn.append(figure))
    shares = [KeywordShare("*", {"joy": 1_000_000}, unsupported=250_000), KeywordShare("tea", {"joy": 3})]
    draw_shares(shares, tmp_path / "chart.png", subtitle="a test")
    (figure,) = drawn
    FigureCanvasAgg(figure)
    texts = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert {"posts +unsupported", "1,000,000 +250,000", "3"} <= texts.keys()
    assert max(extent.x1 for extent in texts.values()) <= figure.bbox.x1, "no text is cut at the edge"


def test_labels_with_fewest_posts_are_summed() -> None:
    counts = {label: len(MANY) - number for number, label in enumerate(MANY)}
    (share,) = fewer_labels([KeywordShare("*", counts)])
    assert list(share.counts) == [*MANY[: MAX_LABELS - 1], OTHER_LABELS]
    assert share.posts == sum(counts.values())


def test_few_labels_stay_as_they_are() -> None:
    shares = [KeywordShare("*", {"spam": 1, "ham": 2})]
    assert fewer_labels(shares) == shares
