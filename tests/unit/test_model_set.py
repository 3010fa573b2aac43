"""Which of several models classifies a post, and whether a model reads the language that it is configured for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from models.errors import ModelError
from models.text.model_set import ModelSet, check_languages
from tests.classify_harness import FakeClassifier


def reading(*languages: str, name: str = "main") -> FakeClassifier:
    model = FakeClassifier(name=name)
    model.languages = list(languages)
    return model


@pytest.mark.parametrize(
    ("main_reads", "configured", "code", "expected"),
    [
        (["en"], [], "en", "main"),
        (["en"], [], "es", None),
        (["*"], [], "es", "main"),
        (["en"], ["es"], "es", "es"),
        (["en"], ["es"], "en", "main"),
        (["en"], ["es"], "fr", None),
        (["en"], ["en"], "en", "en"),
        (["en", "es"], ["es"], "es", "es"),
        (["*"], ["es"], "es", "es"),
        (["*"], ["es"], "fr", "main"),
        # The text does not tell the language: the main model, also if it reads only some language.
        (["en"], ["es"], "und", "main"),
        (["fr"], ["en"], "und", "main"),
        (["en"], ["es"], "mis", None),
        # The identifier says `no`, whichever kind of Norwegian a text is in.
        (["en"], ["nb"], "no", "nb"),
        (["en"], ["nb", "no"], "no", "no"),
        (["en"], ["nb", "nn"], "no", "nb"),
        (["*"], ["nb"], "no", "nb"),
        (["no"], ["nb"], "no", "main"),
        (["no"], [], "nb", "main"),
        (["no"], ["es"], "nb", "main"),
    ],
)
def test_a_post_goes_to_the_model_of_its_language(
    main_reads: Sequence[str], configured: Sequence[str], code: str, expected: str | None
) -> None:
    models = ModelSet(reading(*main_reads), {language: reading(language, name=language) for language in configured})
    found = models.model_for(code)
    assert (found and found.name) == expected


def test_each_model_is_listed_once() -> None:
    main, other = reading("en"), reading("es", "pt")
    assert ModelSet(main).all == [main]
    assert ModelSet(main, {"es": other, "pt": other, "en": main}).all == [main, other]


@pytest.mark.parametrize(
    ("languages", "wanted"), [(["es"], []), (["es", "pt"], ["pt"]), (["*"], ["hi"]), (["no"], ["nb"])]
)
def test_a_model_may_be_configured_for_what_it_reads(languages: Sequence[str], wanted: Sequence[str]) -> None:
    check_languages(reading(*languages), wanted)


def test_a_model_that_does_not_read_its_language_is_refused() -> None:
    message = r"main 1\.2\.3 is configured for hi, ur, which its manifest does not list; it reads es, pt"
    with pytest.raises(ModelError, match=message):
        check_languages(reading("es", "pt"), ["es", "hi", "ur"])
