"""Records of version 0.1, which have no languages, are still read."""

from __future__ import annotations

import json

from streams.records import ClassifiedPost, EmotionTotals, EmotionWindow, rfc3339
from streams.windows.post import PostForCounting
from tests.helpers import NOON, classified


def test_a_post_of_version_0_1_is_counted_without_a_language() -> None:
    fields = json.loads(classified(7, lang="en").to_json())
    del fields["lang_confidence"]
    old = ClassifiedPost.from_json(json.dumps(fields).encode())
    assert (old.lang, old.lang_confidence) == ("en", None)
    # Version 0.1 counted it so, and the audit must count as it did.
    assert PostForCounting.of(old).lang is None


def test_an_unsupported_post_has_neither_label_nor_confidence() -> None:
    post = ClassifiedPost.from_json(classified(7, label=None, lang="es").to_json())
    counted = PostForCounting.of(post)
    assert (counted.label, counted.confidence, counted.sentiment, counted.score) == (None, 0, None, 0)
    assert counted.lang == "es"


def test_a_window_of_version_0_1_has_no_unsupported_posts() -> None:
    at = rfc3339(NOON)
    fields = {
        **{"keyword": "tea", "size": 60, "start": at, "end": at, "first_event": at, "last_event": at},
        **{"count": 2, "labels": {"joy": {"count": 2, "pct": 100.0, "mean_confidence": 0.5}}, "models": {"1.0.0": 2}},
        **{"sources": {"web": 2}, "revision": 1, "final": True, "late": 0},
    }
    window = EmotionWindow.from_json(json.dumps(fields).encode())
    assert (window.count, window.unsupported, window.languages) == (2, 0, {})
    assert EmotionWindow.from_json(window.to_json()) == window


def test_totals_of_version_0_1_have_no_unsupported_posts() -> None:
    at = rfc3339(NOON)
    keywords = {"*": {"count": 2, "labels": {"joy": 2}, "mean_sentiment": None}}
    value = json.dumps({"at": at, "size": 60, "start": at, "end": at, "keywords": keywords}).encode()
    assert EmotionTotals.from_json(value).keywords["*"].unsupported == 0
