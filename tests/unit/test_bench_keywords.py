"""The benchmark of keywords: what it draws, and that it checks what is found."""

from __future__ import annotations

import pytest

from benchmarks.bench_keywords import draw_keywords, measure, rate
from benchmarks.harness.broker import BenchmarkError

TEXTS = [f"common words, of post{number} and thing{number} here" for number in range(1_000)]


def test_keywords_are_words_and_pairs_of_words_that_are_not_common() -> None:
    drawn = draw_keywords(TEXTS, 100)
    assert len(set(drawn)) == 100
    assert sum(" " in keyword for keyword in drawn) == 20
    assert not {"common", "words", "and", "here"} & set(drawn)
    assert drawn == draw_keywords(TEXTS, 100)


def test_too_few_words_are_an_error() -> None:
    with pytest.raises(BenchmarkError, match="that is too few"):
        draw_keywords(TEXTS[:10], 100)


def test_a_result_says_how_many_texts_have_a_keyword() -> None:
    result = measure("test", TEXTS, ["post1", "thing1", "post2", "post1 and thing1"], 2)
    assert (result.texts, result.matched, result.found) == (1_000, 0.002, 0.004)
    assert result.matching.low > 0


def test_a_round_that_finds_something_else_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="2 were found, not 3"):
        rate(1, lambda: 2, 3)
