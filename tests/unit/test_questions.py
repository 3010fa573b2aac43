from __future__ import annotations

import re

import pytest

from streams.query.errors import QuestionError
from streams.query.question import Question
from streams.records import ALL_KEYWORDS, Keywords, Timestamp


@pytest.mark.parametrize(
    "keyword",
    [
        "a|b",
        "[sale]",
        "foo*",
        "what?",
        "back\\slash",
        "60|1772366400000|x",
        "naïve café",
        "%2F..%2F",
        "C++",
        "晚报",
        "a  b",
    ],
)
def test_a_keyword_stands_for_itself_as_the_keywords_of_posts_do(keyword: str) -> None:
    for given in (keyword, f" {keyword}\n", f"\u3000{keyword}"):
        assert (Question.of(given).keyword,) == Keywords.of([given]) == (keyword,)


def test_the_keyword_of_all_posts_is_no_keyword_of_a_post() -> None:
    assert Question.of(" * ").keyword == ALL_KEYWORDS
    with pytest.raises(ValueError, match="stands for all posts"):
        Keywords.of(["*"])


@pytest.mark.parametrize(
    ("keyword", "problem"),
    [
        ("", "keyword: is empty"),
        (" \t\n", "keyword: is empty"),
        ("a\0b", "keyword: has U+0000, which cannot be stored"),
        ("a\ud800", "keyword: has a lone surrogate, which is not a character"),
        ("x" * 201, "keyword: has 201 characters; 200 are allowed"),
    ],
)
def test_what_cannot_be_a_keyword(keyword: str, problem: str) -> None:
    with pytest.raises(QuestionError, match=re.escape(problem)) as refused:
        Question.of(keyword)
    assert refused.value.field == "keyword"


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_limits_that_are_refused(limit: int) -> None:
    with pytest.raises(QuestionError, match="limit: is not within 1 and 500"):
        Question.of("tea", limit=limit)


def test_a_start_before_1970_is_refused() -> None:
    with pytest.raises(QuestionError, match="since: is before 1970"):
        Question.of("tea", since=Timestamp.fromisoformat("1969-12-31T23:59:59Z"))
    assert Question.of("tea", limit=500, since=Timestamp.parse("1970-01-01T00:00:00Z")).limit == 500
