"""EMOSTREAM_MODELS gives single languages models of their own, and refuses what can be no such model."""

from __future__ import annotations

import pytest

from streams.connections import language_model_sources
from streams.setting_types import LanguageModel
from tests.settings_support import load, problems


def test_each_language_has_a_model_and_a_channel() -> None:
    text = "es=s3://bucket/spanish#stable,hi=/models/hindi,pt=s3://bucket/a=b"
    settings = load(MODELS=text.replace(",", " , "), MODEL_CHANNEL="candidate", MODEL_POLL_S="3")
    assert settings.models == (
        LanguageModel("es", "s3://bucket/spanish", "stable"),
        LanguageModel("hi", "/models/hindi"),
        LanguageModel("pt", "s3://bucket/a=b"),
    )
    assert ",".join(map(str, settings.models)) == text
    sources = language_model_sources(settings)
    assert {language: (source.uri, source.channel, source.poll_s) for language, source in sources.items()} == {
        "es": ("s3://bucket/spanish", "stable", 3),
        "hi": ("/models/hindi", "candidate", 3),
        "pt": ("s3://bucket/a=b", "candidate", 3),
    }


def test_there_is_none_by_default() -> None:
    assert load().models == load(MODELS="").models == ()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        *((text, "is not LANGUAGE=URI[#CHANNEL]") for text in ("es", "es=", "es=#stable", "es=/m,", ",", "/models/es")),
        *((f"{code}=/m", "is not a language") for code in ("", "ES", "es-MX", "und", "mul", "xx", "*", "spanish", "é")),
        ("spa=/m", "give es in place of spa"),
        ("fil=/m", "give tl in place of fil"),
        ("es=/m,hi=/n,es=/o", "es is given twice"),
        ("es=/m#stable", "only a registry, s3://bucket/prefix, has channels; leave out #stable"),
        *((f"es=s3://bucket/x#{name}", "is not the name of a channel") for name in ("", "Stable", "a b", "1", "a#b")),
        ("es=gs://bucket/x", "not a model registry"),
        ("es=s3://B/x", "not a model registry"),
    ],
)
def test_what_can_be_no_model_of_a_language_is_refused(value: str, problem: str) -> None:
    (line,) = problems(MODELS=value)
    assert line.startswith("EMOSTREAM_MODELS: ")
    assert problem in line


def test_the_number_of_models_is_bounded() -> None:
    codes = "af am ar as az be bg bn bo br bs ca ce co cs cv cy da de dv dz el en eo es et eu fa fi fo fr fy ga gd gl"
    more = "gn gu gv ha he hi hr ht hu hy id ig is it ja jv"
    languages = f"{codes} {more}".split()
    assert len(languages) == 51
    assert len(load(MODELS=",".join(f"{code}=/m" for code in languages[:50])).models) == 50
    assert problems(MODELS=",".join(f"{code}=/m" for code in languages)) == [
        "EMOSTREAM_MODELS: 51 languages are too many; give at most 50"
    ]
