from __future__ import annotations

import pytest

from streams.wording import counted


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(0, "hole", "0 holes"), (1, "hole", "1 hole"), (2_000, "row", "2,000 rows"), (2, "process", "2 processes")],
)
def test_a_number_has_its_noun_in_the_singular_or_the_plural(number: int, noun: str, expected: str) -> None:
    assert counted(number, noun) == expected


def test_an_irregular_plural_can_be_given() -> None:
    assert counted(2, "confusion matrix", "confusion matrices") == "2 confusion matrices"
