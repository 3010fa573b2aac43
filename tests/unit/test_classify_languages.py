"""The classify stage gives a post to the model that reads its language, and no label if there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.records import ModelRef
from streams.windows.post import counted_language
from tests.classify_harness import FakeClassifier, Harness, raw


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
    assert harness.metric("emostream_tier_answers_total", model="tiny", tier="quick") == 2


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


SPANISH = "me encanta mi nuevo teléfono"
HINDI = "yaar battery do ghante mein khatam, bilkul bakwas phone hai"


@pytest.fixture
def spanish() -> FakeClassifier:
    model = FakeClassifier(name="iberian", version="3.0.0")
    model.languages = ["es", "pt"]
    return model


@pytest.fixture
def several(spanish: FakeClassifier) -> Iterator[Harness]:
    harness = Harness(by_language={"es": spanish, "pt": spanish})
    yield harness
    harness.stage.close()


async def test_each_post_is_classified_by_the_model_of_its_language(several: Harness, spanish: FakeClassifier) -> None:
    texts = ["I love my phone :)", SPANISH, "😂", HINDI, f"{SPANISH} :)", "bom dia, que alegria ver todo mundo aqui :)"]
    await several.process(*(raw(offset, text) for offset, text in enumerate(texts)))
    assert [(post.lang, post.label, post.model) for post in several.results] == [
        ("en", "joy", ModelRef("tiny", "1.2.3", "quick")),
        ("es", "anger", ModelRef("iberian", "3.0.0", "quick")),
        ("und", "anger", ModelRef("tiny", "1.2.3", "quick")),
        ("hi", None, ModelRef("tiny", "1.2.3", "unsupported")),
        ("es", "joy", ModelRef("iberian", "3.0.0", "quick")),
        ("pt", "joy", ModelRef("iberian", "3.0.0", "quick")),
    ]
    assert several.classifier.calls == [[texts[0], texts[2]]]
    assert spanish.calls == [[texts[1], texts[4], texts[5]]], "one call for all of its languages"
    assert several.metric("emostream_unsupported_total") == 1
    assert several.metric("emostream_tier_answers_total", model="tiny", tier="quick") == 2
    assert several.metric("emostream_tier_answers_total", model="iberian", tier="quick") == 3


async def test_a_text_that_one_model_cannot_classify_costs_only_itself(
    several: Harness, spanish: FakeClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    bad = f"{SPANISH}, bad"
    await several.process(raw(0, "I love my phone"), raw(1, bad), raw(2, SPANISH), raw(3, "I hate my phone"))
    assert [post.origin.offset for post in several.results] == [0, 2, 3]
    assert [(letter.origin.offset, letter.reason) for letter in several.letters] == [(1, "classification_failed")]
    assert len(several.classifier.calls) == 1, "the posts of the other model are not classified again"
    assert [call for call in spanish.calls if len(call) > 1] == [[bad, SPANISH]]
    assert "iberian 3.0.0 cannot classify 2 posts at once" in caplog.text


@pytest.mark.parametrize("broken", ["tiny", "iberian"])
async def test_one_broken_model_dead_letters_no_post(several: Harness, spanish: FakeClassifier, broken: str) -> None:
    """The worker stops, because the model may work after a restart. All posts of the batch stay in Kafka."""
    (several.classifier if broken == "tiny" else spanish).broken = True
    with pytest.raises(RuntimeError, match="fell over"):
        await several.process(raw(0, "I love my phone"), raw(1, SPANISH))
    assert several.out.calls == []


async def test_a_broken_model_without_posts_costs_nothing(several: Harness, spanish: FakeClassifier) -> None:
    spanish.broken = True
    await several.process(raw(0, "I love my phone"))
    assert [post.label for post in several.results] == ["anger"]
