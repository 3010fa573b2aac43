"""The keys of answers."""

import itertools
from typing import Any

import pytest

from streams.query.cache_key import answer_key

QUESTION: dict[str, Any] = {"keyword": "coffee", "limit": 250, "since_ms": None, "models": ["emotion@1.0.0"]}
KEYWORDS = ["a|b", "a", "b", "[x]", "x", "*", "", " ", "a b", "é", "e\u0301", "ß", "ss", "\ud83d", "😀", "\x00", "n"]
KEYWORDS += ["[sale]", "foo*", "what?", "back\\slash", "60|1772366400000|x", "naïve café", "%2F..%2F", "C++"]


@pytest.mark.parametrize(
    "change",
    [
        {"keyword": "Coffee"},
        {"limit": 251},
        {"since_ms": 0},
        {"models": ["emotion@1.0.1"]},
        {"models": []},
        {"models": ["emotion@1.0.0", "emotion-es@1.0.0"]},
    ],
)
def test_each_part_of_a_question_is_in_its_key(change: dict[str, Any]) -> None:
    assert answer_key("emo", **{**QUESTION, **change}) != answer_key("emo", **QUESTION)


def test_unusual_keywords_have_keys_of_their_own() -> None:
    keys = {answer_key("emo", **{**QUESTION, "keyword": keyword}) for keyword in KEYWORDS}
    assert len(keys) == len(KEYWORDS)


def test_the_order_of_the_models_does_not_matter() -> None:
    models = ["a@1", "b@2", "c@3"]
    keys = {answer_key("emo", **{**QUESTION, "models": order}) for order in itertools.permutations(models)}
    assert len(keys) == 1


def test_a_key_has_the_prefix_and_no_character_of_the_keyword() -> None:
    key = answer_key("emo", **{**QUESTION, "keyword": "{1}*\n"})
    prefix, kind, digest = key.split(":")
    assert (prefix, kind, len(digest)) == ("emo", "answer", 64)
    assert set(digest) <= set("0123456789abcdef")
