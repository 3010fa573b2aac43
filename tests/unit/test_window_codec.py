from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.records import EmotionWindow, LabelStats, SentimentStats, from_ms, rfc3339
from streams.windows.codec import OTHERS, to_window
from streams.windows.tumbling import WindowKey
from tests.helpers import NOON, NOON_MS

KEY = WindowKey("coffee", 60, NOON_MS)

# The hash of a window of three posts, as `apply.lua` writes it.
ROW = {
    "n": "3",
    "l:sadness": "1",
    "c:sadness": "499999",
    "l:joy": "2",
    "c:joy": "1833333",
    "m:1.0.0": "3",
    "s:web": "1",
    "s:app": "2",
    "t:positive": "2",
    "t:negative": "1",
    "ts": "-1000000",
    "first": str(NOON_MS + 1),
    "last": str(NOON_MS + 59_999),
    "rev": str(NOON_MS + 70_000),
}


def test_every_field() -> None:
    window = to_window(KEY, ROW)
    assert (window.keyword, window.size, window.start, window.end) == ("coffee", 60, NOON, from_ms(NOON_MS + 60_000))
    assert window.count == 3
    assert window.labels == {
        "joy": LabelStats(count=2, pct=66.6667, mean_confidence=0.9167),
        "sadness": LabelStats(count=1, pct=33.3333, mean_confidence=0.5),
    }
    assert window.sentiment == SentimentStats(labels={"negative": 1, "positive": 2}, mean_sentiment=-0.3333)
    assert (window.models, window.sources) == ({"1.0.0": 3}, {"app": 2, "web": 1})
    assert (window.first_event, window.last_event) == (from_ms(NOON_MS + 1), from_ms(NOON_MS + 59_999))
    assert (window.revision, window.final, window.late) == (NOON_MS + 70_000, False, 0)
    assert window.key == "coffee|60|2026-03-01T12:00:00.000Z"


def test_posts_without_a_label_are_counted_apart() -> None:
    window = to_window(KEY, {**ROW, "n": "5", "u": "2", "s:web": "3", "g:en": "3", "g:es": "1", "g:mis": "1"})
    assert (window.count, window.unsupported) == (3, 2)
    assert window.labels == to_window(KEY, ROW).labels
    assert (window.sources, window.languages) == ({"app": 2, "web": 3}, {"en": 3, "es": 1, "mis": 1})


def test_a_window_of_unsupported_posts_alone() -> None:
    window = to_window(KEY, {"n": "2", "u": "2", "s:web": "2", "g:es": "2", "rev": "8"})
    assert (window.count, window.unsupported, window.labels, window.models) == (0, 2, {}, {})


def test_a_record_names_thirty_languages() -> None:
    many = {f"g:{chr(97 + i // 26)}{chr(97 + i % 26)}": str(100 - i) for i in range(40)}
    languages = to_window(KEY, {**ROW, **many}).languages
    assert len(languages) == 31
    assert languages["aa"] == 100
    assert languages[OTHERS] == sum(100 - i for i in range(30, 40))


def test_labels_are_in_alphabetical_order() -> None:
    window = to_window(KEY, ROW)
    assert [list(part) for part in (window.labels, window.sources)] == [["joy", "sadness"], ["app", "web"]]


def test_a_window_that_is_final_with_late_posts() -> None:
    window = to_window(KEY, {**ROW, "final": "1", "late": "2"})
    assert (window.final, window.late) == (True, 2)


def test_a_mean_sentiment_that_rounds_to_zero_has_no_sign() -> None:
    sentiment = to_window(KEY, {**ROW, "ts": "-9"}).sentiment
    assert sentiment is not None
    assert str(sentiment.mean_sentiment) == "0.0"


def test_a_window_may_hold_posts_of_models_with_other_labels() -> None:
    """Labels may be any text, even text that looks like a field of the hash."""
    row = {**ROW, "n": "6", "l:größer als 🙂": "1", "c:größer als 🙂": "900000", "l:l:joy": "1", "c:l:joy": "500000"}
    row |= {"l:n": "1", "c:n": "250000", "m:2.0.0": "3"}
    window = to_window(KEY, row)
    assert {label: (stats.count, stats.mean_confidence) for label, stats in window.labels.items()} == {
        "joy": (2, 0.9167),
        "sadness": (1, 0.5),
        "größer als 🙂": (1, 0.9),
        "l:joy": (1, 0.5),
        "n": (1, 0.25),
    }
    assert sum(stats.pct for stats in window.labels.values()) == pytest.approx(100, abs=0.001)
    assert window.models == {"1.0.0": 3, "2.0.0": 3}


def test_no_sentiment_where_the_model_has_none() -> None:
    row = {name: value for name, value in ROW.items() if not name.startswith("t")}
    assert to_window(KEY, row).sentiment is None


def test_sentiment_of_some_posts_only_is_averaged_over_those() -> None:
    row = {**ROW, "t:positive": "1", "t:negative": "0", "ts": "800000"}
    sentiment = to_window(KEY, row).sentiment
    assert sentiment is not None
    assert sentiment.mean_sentiment == 0.8


@pytest.mark.parametrize("label", ["ts", "a:b", ":", "n", "日本", "l:joy"])
def test_labels_may_look_like_fields(label: str) -> None:
    window = to_window(KEY, {**ROW, f"l:{label}": "1", f"c:{label}": "250000", f"s:{label}": "7"})
    assert window.labels[label] == LabelStats(count=1, pct=33.3333, mean_confidence=0.25)
    assert window.sources[label] == 7
    assert window.count == 3


def test_a_label_without_confidences_has_a_mean_of_zero() -> None:
    assert to_window(KEY, {**ROW, "l:fear": "1"}).labels["fear"].mean_confidence == 0


def test_large_counts_stay_exact() -> None:
    billions = 9_007_199_254_740_993  # above 2**53, where a float would be inexact
    window = to_window(KEY, {**ROW, "n": str(billions), "l:joy": str(billions)})
    assert window.count == billions
    assert window.labels["joy"].count == billions


def test_a_window_that_a_rebuild_left_empty() -> None:
    window = to_window(KEY, {"n": "0", "rev": "8", "final": "1"})
    assert (window.count, window.labels, window.sentiment, window.models, window.sources) == (0, {}, None, {}, {})
    assert (window.first_event, window.last_event, window.final) == (NOON, NOON, True)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
COUNTS = st.integers(1, 2**60).map(str)


@given(
    st.builds(WindowKey, NAMES, st.sampled_from([60, 86_400]), st.integers(0, 2**41)),
    st.fixed_dictionaries(
        {"n": COUNTS, "rev": COUNTS},
        optional={
            "first": st.integers(0, 2**41).map(str),
            "last": st.integers(0, 2**41).map(str),
            "final": st.just("1"),
            "late": COUNTS,
            "ts": st.integers(-(2**60), 2**60).map(str),
        },
    ),
    st.dictionaries(st.tuples(st.sampled_from("lcmst"), NAMES).map(":".join), COUNTS, max_size=12),
)
def test_the_record_of_any_window_can_be_read_back(
    key: WindowKey, fields: dict[str, str], counts: dict[str, str]
) -> None:
    row = {**fields, **counts}
    window = to_window(key, row)
    assert EmotionWindow.from_json(window.to_json()) == window
    assert window.key == f"{key.keyword}|{key.size}|{rfc3339(from_ms(key.start))}"
