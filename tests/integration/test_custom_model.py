"""A model with labels of its own: windows, topics, tables and commands follow them, sentiment and tiers included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
from rich.console import Console

from models.package.manifest import Tier
from streams.cli.window_table import windows_table
from streams.ops.demo.processes import Role
from streams.records import ClassifiedPost, EmotionWindow
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import balanced, failures, post, produce, records, wait_for
from tests.tiny_model import HEADS, TOPIC, network, tiny_package

Start = Callable[..., Role]

ALL_POSTS = "WHERE keyword = '*' AND size_s = 60"

QUICK = Tier(name="quick", file="quick.onnx", thresholds={"topic": 0.7})
FULL = Tier(name="full", file="model.onnx")
# The quick tier is sure of a word that stands three times.
TEXTS = {
    "buy buy buy": ("spam", "negative", "quick"),
    "hello": ("ham", "positive", "full"),
    "groß groß groß": ("größer als 🙂", "neutral", "quick"),
    "hello hello hello bad": ("ham", "positive", "quick"),
}


async def test_everything_follows_the_models_labels(
    settings: Settings, store: WindowStore, start: Start, tmp_path: Path
) -> None:
    networks = {"quick.onnx": network(strength=1.0), "model.onnx": network(strength=3.0)}
    tiny_package(tmp_path / "model", heads=HEADS, networks=networks, tiers=[QUICK, FULL])
    worker = start("worker", EMOSTREAM_MODEL_URI=str(tmp_path / "model"))
    sink = start("sink")
    produce(settings, [post(text) for text in list(TEXTS) * 30])

    assert failures(await balanced(settings, store, [worker, sink])) == []

    posts = [ClassifiedPost.from_json(value) for _, _, value in records(settings, settings.topic_classified)]
    assert {
        item.text: (item.label, item.sentiment and item.sentiment.label, item.model.tier) for item in posts
    } == TEXTS
    assert all(set(item.scores) == set(TOPIC.labels) for item in posts)
    scores = {item.text: item.sentiment.score for item in posts if item.sentiment is not None}
    assert scores["buy buy buy"] < -0.8 < 0.8 < scores["hello"]

    windows = await store.read(keyword="*", size=60)
    assert totals(windows) == {"spam": 30, "ham": 60, "größer als 🙂": 30}
    assert sentiments(windows) == {"negative": 30, "positive": 60, "neutral": 30}
    scored = sum(window.sentiment.mean_sentiment * window.count for window in windows if window.sentiment) / 120
    assert abs(scored - sum(scores.values()) / 4) < 1e-3
    assert windows_table(windows, Console(width=200)).row_count == len(windows)

    def published() -> dict[str, EmotionWindow]:
        found = (EmotionWindow.from_json(value) for _, _, value in records(settings, settings.topic_windows))
        return {window.key: window for window in found}

    in_redis = {window.key: window for window in await store.read()}
    wait_for(lambda: published() == in_redis, what="the windows topic does not reach Redis's state")

    expected = {
        "SELECT label, sentiment_label, model_tier, count(*) FROM posts GROUP BY 1, 2, 3": {
            ("ham", "positive", "full", 30),
            ("ham", "positive", "quick", 30),
            ("größer als 🙂", "neutral", "quick", 30),
            ("spam", "negative", "quick", 30),
        },
        f"SELECT label, sum(posts)::int FROM emotion_window_labels {ALL_POSTS} GROUP BY 1": {
            ("größer als 🙂", 30),
            ("ham", 60),
            ("spam", 30),
        },
        f"SELECT label, sum(posts)::int FROM emotion_window_sentiments {ALL_POSTS} GROUP BY 1": {
            ("negative", 30),
            ("neutral", 30),
            ("positive", 60),
        },
    }
    for statement, rows in expected.items():
        wait_for(lambda statement=statement, rows=rows: set(query(settings, statement)) == rows, what=statement)
    # What Tableau would show: the means of the windows, weighted by their posts.
    ((mean,),) = query(settings, f"SELECT sum(mean_sentiment * posts) / sum(posts) FROM emotion_windows {ALL_POSTS}")
    assert abs(float(str(mean)) - sum(scores.values()) / 4) < 1e-3


async def test_a_window_holds_the_labels_of_both_models(
    settings: Settings, store: WindowStore, start: Start, tmp_path: Path
) -> None:
    """The model is replaced by one with other labels and no sentiment: what was counted stays, the new is added."""
    moment = {"created_at": "2026-03-01T12:00:00Z"}
    tiny_package(tmp_path / "first")
    other = TOPIC.model_copy(update={"labels": ("x", "y", "z")})
    words = {"buy": {"topic": "y"}, "hello": {"topic": "x"}, "groß": {}, "bad": {}, "good": {}, "filler": {}}
    networks = {"model.onnx": network([other], words)}
    tiny_package(tmp_path / "second", version="2.0.0", heads=[other], networks=networks)

    sink = start("sink")
    for name, text in (("first", "buy"), ("second", "buy"), ("second", "hello")):
        worker = start("worker", EMOSTREAM_MODEL_URI=str(tmp_path / name))
        produce(settings, [post(text, **moment)] * 5)
        assert failures(await balanced(settings, store, [worker, sink])) == []
        worker.stop()

    (window,) = await store.read(keyword="*", size=60)
    assert {label: stats.count for label, stats in window.labels.items()} == {"spam": 5, "x": 5, "y": 5}
    assert window.models == {"1.0.0": 5, "2.0.0": 10}
    assert window.sentiment is not None
    assert window.sentiment.labels == {"negative": 5}, "of the posts that have one"
    assert window.count == 15
    labels = f"SELECT label, posts, round(percent::numeric)::text FROM emotion_window_labels {ALL_POSTS}"
    assert set(query(settings, labels)) == {("spam", 5, "33"), ("x", 5, "33"), ("y", 5, "33")}
    ((scores,),) = query(settings, "SELECT scores FROM posts WHERE label = 'y' LIMIT 1")
    assert isinstance(scores, dict)
    assert scores.keys() == {"x", "y", "z"}


def query(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]


def totals(windows: list[EmotionWindow]) -> Counter[str]:
    """Posts by label."""
    counts: Counter[str] = Counter()
    for window in windows:
        counts.update({label: stats.count for label, stats in window.labels.items()})
    return counts


def sentiments(windows: list[EmotionWindow]) -> Counter[str]:
    """Posts by sentiment."""
    counts: Counter[str] = Counter()
    for window in windows:
        counts.update(window.sentiment.labels if window.sentiment is not None else {})
    return counts
