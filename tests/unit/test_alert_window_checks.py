"""Which records of the windows topic are evaluated as windows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from streams.alerts.engine.measure import Reading, measured
from streams.alerts.evaluation.window_checks import reading_of
from streams.alerts.rules.rule import EmotionShare
from streams.records import EmotionWindow, RecordError, SentimentStats, to_ms
from streams.records.values import MAX_COUNT
from tests.integration.alerts_support import window

SOUND = window("coffee", 0, 10, labels={"anger": 4, "joy": 6})
END_MS = to_ms(SOUND.end)


def taken(one: EmotionWindow, key: str | None = None, latest_ms: int = END_MS) -> Reading:
    return reading_of((one.key if key is None else key).encode(), one.to_json(), latest_ms)


def moved(**by: int) -> EmotionWindow:
    return replace(SOUND, start=SOUND.start + timedelta(**by), end=SOUND.end + timedelta(**by))


def test_a_window_becomes_a_reading() -> None:
    assert taken(SOUND) == Reading.of_window(SOUND)


def test_a_window_that_still_grows_may_end_later_and_a_final_one_may_not() -> None:
    assert not taken(replace(SOUND, final=False), latest_ms=END_MS - 1).final
    with pytest.raises(RecordError, match="in the future"):
        taken(SOUND, latest_ms=END_MS - 1)
    with pytest.raises(RecordError, match="in the future"):
        taken(replace(SOUND, final=False), latest_ms=to_ms(SOUND.start) - 1)


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (window("a\0b", 0, 10), "keyword that no post can have"),
        (window("", 0, 10), "keyword that no post can have"),
        (window("a" * 201, 0, 10), "keyword that no post can have"),
        (moved(seconds=1), "multiples of its size"),
        (moved(days=365 * 100), "in the future"),
        (replace(SOUND, end=SOUND.end + timedelta(seconds=60)), "multiples of its size"),
        (replace(SOUND, size=0, end=SOUND.start), "multiples of its size"),
        (window("coffee", 0, 10, labels={"anger": 11}), "more posts of a label than posts"),
        (replace(SOUND, unsupported=MAX_COUNT), "more posts than can be counted"),
        (replace(SOUND, sentiment=SentimentStats({"a": MAX_COUNT, "b": 1}, 0.0)), "more posts than can be counted"),
    ],
)
def test_a_record_that_cannot_be_a_window_is_refused(one: EmotionWindow, what: str) -> None:
    with pytest.raises(RecordError, match=what):
        taken(one)


@pytest.mark.parametrize("key", ["*|60|2026-03-01T12:00:00.000Z", "coffee|60|2026-03-01T12:01:00.000Z", ""])
def test_a_record_with_the_key_of_another_window_is_refused(key: str) -> None:
    with pytest.raises(RecordError, match="another key"):
        taken(SOUND, key)


def test_the_share_of_a_stored_window_that_contradicts_itself_is_at_most_all() -> None:
    fields: dict[str, Any] = {"count": 10, "unsupported": 0, "labels": {"anger": 11}, "sentiments": {}}
    found = measured(EmotionShare(label="anger"), Reading("coffee", 60, 0, **fields, final=True))
    assert found is not None
    assert found.value == 100
