"""Text normalisation: models/normalize_*.json say what each version does; it may not change under its name."""

import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.normalize import NORMALIZATION_ID, NORMALIZERS, normalize

VERSION = "v2"
GOLDEN = json.loads((Path(__file__).parent / "models" / f"normalize_{VERSION}.json").read_text(encoding="utf-8"))


def test_the_golden_file_is_that_of_the_current_version():
    assert NORMALIZATION_ID == VERSION


@pytest.mark.parametrize("case", GOLDEN, ids=[case["what"] for case in GOLDEN])
def test_golden(case):
    assert NORMALIZERS[VERSION](case["text"]) == case["normal"]


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_becomes_plain_one_line_utf8(text):
    normal = normalize(text)
    normal.encode("utf-8")
    assert normal == " ".join(normal.split())
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in normal)


@pytest.mark.parametrize(
    "text",
    ["@" * 50_000, "@a." * 20_000, "@a@" * 20_000, "a" * 50_000, "&amp" * 20_000, "&" * 50_000, "http://" * 10_000],
    ids=["at signs", "dotted handles", "handle chains", "letters", "entities", "ampersands", "links"],
)
def test_hostile_repetition_takes_linear_time(text):
    # A quadratic expression takes many seconds here; a linear one milliseconds.
    started = time.monotonic()
    normalize(text)
    assert time.monotonic() - started < 2
