"""The classify stage gives a post in a language that the model does not read no label."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.records import ModelRef
from streams.windows.post import counted_language
from tests.classify_harness import Harness, raw


@pytest.fixture
def harness() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.stage.close()


async def test_a_post_in_another_language_gets_no_label(harness: Harness) -> None:
    await harness.process(
        raw(1, "I love my new phone"),
        raw(2, "me encanta mi nuevo teléfono", lang="en"),
        raw(3, "ok", lang="es-MX"),
        raw(4, "😂"),
        raw(5, "bad day for everybody"),
        raw(6, "yaar battery do ghante mein khatam, bilkul bakwas phone hai", lang="en"),
    )
    assert harness.classifier.calls[0] == ["I love my new phone", "😂", "bad day for everybody"]
    assert [letter.origin.offset for letter in harness.letters] == [5]
    assert [(post.id, post.lang) for post in harness.results] == [
        ("id-1", "en"), ("id-2", "es"), ("id-3", "es"), ("id-4", "und"), ("id-6", "hi"),
    ]  # fmt: skip
    labelled, unsupported = harness.results[0], harness.results[1]
    assert labelled.label == "anger"
    assert labelled.lang_confidence is not None
    assert (unsupported.label, unsupported.confidence, unsupported.scores) == (None, None, {})
    assert unsupported.model == ModelRef("tiny", "1.2.3", "unsupported")
    assert unsupported.text == "me encanta mi nuevo teléfono"
    assert harness.metric("emostream_unsupported_total") == 3
    assert harness.metric("emostream_tier_answers_total", tier="quick") == 2


async def test_a_model_may_read_other_languages(harness: Harness) -> None:
    harness.classifier.languages = ["es", "id"]
    texts = ["I love my new phone", "me encanta mi nuevo teléfono", "apa kabar kamu hari ini"]
    await harness.process(*(raw(offset, text) for offset, text in enumerate(texts)))
    assert [post.label for post in harness.results] == [None, "anger", "anger"]
    harness.classifier.languages = ["*"]
    await harness.process(raw(4, "手机好用吗"))
    assert harness.results[-1].label == "anger"


def test_windows_count_a_bounded_number_of_languages() -> None:
    codes = ["en", "de", "und", "mis", "ceb", "E1", "éé", "", "e" * 35]
    assert [counted_language(code) for code in codes] == ["en", "de", "und", "mis", *["mis"] * 5]
