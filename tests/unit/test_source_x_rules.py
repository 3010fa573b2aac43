"""Keywords as rules of X."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError
from connectors.sources.x.rules import NO_RETWEETS, length, packed, planned, terms_of
from streams.ingest.keywords.keyword import parse_keyword
from tests.source_servers.x import invalid, matches


def is_keyword(text: str) -> bool:
    try:
        return parse_keyword(text) == text and any(one.isalnum() for one in text)
    except ValueError:
        return False


CHARACTERS = st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.sampled_from(' "()-:\\#@$')
KEYWORDS = st.text(CHARACTERS, min_size=1, max_size=30).filter(is_keyword)


@pytest.mark.parametrize(
    ("keyword", "terms"),
    [
        ("coffee", ["coffee"]),
        ("café", ["café"]),
        ("好用", ["好用"]),
        ("हिन्दी", ["हिन्दी"]),
        ("#sale", ["#sale"]),
        ("@NASA", ["@NASA"]),
        ("$TSLA", ["$TSLA"]),
        ("new york", ['"new york"', "#newyork"]),
        ("coca-cola", ['"coca-cola"', "#cocacola"]),
        ("C++", ['"C++"']),
        ("-is:retweet", ['"-is:retweet"']),
        ("lang:en", ['"lang:en"']),
        ("(a", ['"(a"']),
        ('say "hi"', ['"say hi"']),
        ("a\\b", ['"a b"']),
        ("this OR that", ['"this OR that"', "#thisORthat"]),
        ("or", ['"or"']),
        ("And", ['"And"']),
        ("NOT", ['"NOT"']),
        ("😀", ['"😀"']),
        ("#", ['"#"']),
        ("@a_name_that_is_too_long", ['"@a_name_that_is_too_long"']),
    ],
)
def test_a_keyword_is_quoted_unless_it_is_a_word(keyword: str, terms: list[str]) -> None:
    assert terms_of([keyword]) == sorted(terms)


def test_a_keyword_without_anything_to_search_for_is_refused() -> None:
    with pytest.raises(RejectedError, match="has nothing that X could search for"):
        terms_of(['"'])


@given(st.lists(KEYWORDS, min_size=1, max_size=20, unique=True))
def test_no_keyword_makes_an_invalid_rule(keywords: list[str]) -> None:
    for rule in packed(terms_of(keywords), most_chars=512, ending=NO_RETWEETS):
        assert invalid(rule) is None
        assert length(rule) <= 512


@pytest.mark.parametrize(
    ("keyword", "text", "found"),
    [
        ("new york", "I love New York!", True),
        ("new york", "#NewYork", True),
        ("new york", "york is new", False),
        ("coca-cola", "Coca-Cola", True),
        ("or", "this or that", True),
        ("coffee", "RT coffee", False),
    ],
)
def test_a_rule_finds_its_keyword(keyword: str, text: str, found: bool) -> None:
    (rule,) = packed(terms_of([keyword, "rain"]), most_chars=512, ending=NO_RETWEETS)
    references = [{"type": "retweeted", "id": "1"}] if text.startswith("RT") else []
    assert matches(rule, {"text": text, "referenced_tweets": references}) is found


def test_one_rule_has_as_many_keywords_as_fit() -> None:
    assert packed(["a", "b"], most_chars=100, ending=NO_RETWEETS) == ["(a OR b) -is:retweet"]
    assert packed(["a"], most_chars=100, ending=NO_RETWEETS) == ["a -is:retweet"]
    assert packed(["a", "b"], most_chars=100) == ["a OR b"]
    # "aaaa OR bbb OR c" has 16 characters.
    assert packed(["aaaa", "bbb", "c"], most_chars=16) == ["aaaa OR bbb OR c"]
    assert packed(["aaaa", "bbb", "c"], most_chars=15) == ["aaaa OR bbb", "c"]
    # The short terms fill what the long ones leave.
    assert len(packed(["a" * 60, "b" * 60, "c" * 30, "d" * 30], most_chars=94)) == 2


def test_a_keyword_that_is_longer_than_a_rule_is_an_error() -> None:
    with pytest.raises(RejectedError, match="is longer than a rule of 20 characters allows"):
        packed(["a", "b" * 21], most_chars=20)


def test_characters_outside_the_basic_plane_count_twice() -> None:
    assert length("a😀") == 3


def plan(terms: list[str], present: list[str], most_chars: int = 30) -> list[str]:
    return planned(terms, present, most_chars=most_chars, ending=NO_RETWEETS)


def test_a_new_keyword_leaves_the_rules_that_have_no_room_for_it() -> None:
    present = ["(aaaa OR bbbb) -is:retweet", "cccc -is:retweet"]
    assert plan(["aaaa", "bbbb", "cccc", "dddd"], present) == [present[0], "(cccc OR dddd) -is:retweet"]


def test_a_rule_with_a_keyword_that_is_gone_is_replaced() -> None:
    present = ["(aaaa OR bbbb) -is:retweet", "(cccc OR dddd) -is:retweet"]
    assert plan(["aaaa", "cccc", "dddd"], present) == [present[1], "aaaa -is:retweet"]


def test_old_rules_are_given_up_if_they_cost_more_rules() -> None:
    present = ["aa -is:retweet", "bb -is:retweet", "cc -is:retweet"]
    assert plan(["aa", "bb", "cc"], present) == ["(aa OR bb OR cc) -is:retweet"]


def test_a_rule_that_says_more_is_not_kept() -> None:
    assert plan(["aa", "bb"], ["aa bb -is:retweet"]) == ["(aa OR bb) -is:retweet"]
    assert plan(["aa"], ["aa lang:en -is:retweet", "aa", '"a a" -is:retweet']) == ["aa -is:retweet"]


WORDS = st.text("abc", min_size=1, max_size=8)


@given(st.sets(WORDS, max_size=30), st.sets(WORDS, max_size=30), st.integers(25, 60))
def test_any_change_keeps_every_term_once_in_few_rules(before: set[str], after: set[str], most: int) -> None:
    present = plan(sorted(before), [], most)
    rules = plan(sorted(after), present, most)
    found = [term for rule in rules for term in rule.removesuffix(NO_RETWEETS).strip("()").split(" OR ")]
    assert sorted(found) == sorted(after)
    assert all(length(rule) <= most for rule in rules)
    assert len(rules) <= len(packed(after, most_chars=most, ending=NO_RETWEETS))
