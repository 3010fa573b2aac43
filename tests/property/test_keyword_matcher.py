"""The matcher finds what a slow search by hand finds, for any texts and sets of keywords."""

from __future__ import annotations

import re
from unicodedata import normalize

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ingest.keywords.folding import fold
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.matcher import Matcher

FREE = "好用かカ"
MARKS = "\u0301\u0323"
ALPHABET = f"aAbBnN1_ äÄßσς ж-'#?*{FREE}{MARKS}\u00ad\u200dıİＡ"


def is_keyword(text: str) -> bool:
    try:
        return parse_keyword(text) == text
    except ValueError:
        return False


TEXTS = st.text(ALPHABET, max_size=30) | st.text(max_size=30)
KEYWORDS = st.text(ALPHABET, min_size=1, max_size=4).filter(is_keyword)
SETS = st.lists(KEYWORDS, max_size=12, unique_by=fold)


def clusters(folded: str) -> list[str]:
    """Returns the characters, each with the marks on it."""
    # A second mark may keep the one of ä or İ apart from its letter.
    return re.findall(rf".[{MARKS}\u0307\u0308]*", folded, re.DOTALL)


def in_spaced_word(cluster: str) -> bool:
    base = cluster[0]
    return base not in FREE and (base.isalnum() or base == "_")


def contains(text: list[str], wanted: list[str]) -> bool:
    """Returns whether the wanted characters are somewhere in a text and do not continue a word, nor are continued."""
    size = len(wanted)
    for begin in range(len(text) - size + 1):
        before, after = text[:begin][-1:], text[begin + size :][:1]
        if (
            text[begin : begin + size] == wanted
            and not (before and in_spaced_word(before[0]) and in_spaced_word(wanted[0]))
            and not (after and in_spaced_word(after[0]) and in_spaced_word(wanted[-1]))
        ):
            return True
    return False


def by_hand(keywords: list[str], text: str, hashtags: list[str]) -> set[str]:
    searched = [fold(text), *(f"#{fold(hashtag)}" for hashtag in hashtags)]
    found = set()
    for keyword in keywords:
        folded = fold(keyword)
        as_hashtag = re.sub("[ '-]", "", folded if folded.startswith("#") else f"#{folded}")
        forms = {folded} if as_hashtag == "#" else {folded, as_hashtag}
        if any(contains(clusters(where), clusters(form)) for where in searched for form in forms):
            found.add(keyword)
    return found


@settings(max_examples=400)
@given(SETS, st.text(ALPHABET, max_size=30), st.lists(st.text(ALPHABET, max_size=6), max_size=2))
def test_the_matcher_finds_what_a_search_by_hand_finds(keywords: list[str], text: str, hashtags: list[str]) -> None:
    found = Matcher(keywords).find(text, hashtags)
    assert len(set(found)) == len(found)
    assert set(found) == by_hand(keywords, text, hashtags)


@given(SETS, TEXTS)
def test_each_keyword_is_found_whatever_the_others_are(keywords: list[str], text: str) -> None:
    alone = {keyword for keyword in keywords if Matcher([keyword]).find(text)}
    assert set(Matcher(keywords).find(text)) == alone


@given(KEYWORDS, st.text(" .,!。", max_size=3))
def test_a_keyword_is_found_between_spaces_and_punctuation(keyword: str, around: str) -> None:
    assert Matcher([keyword]).find(f"{around} {keyword} {around}") == (keyword,)


@given(TEXTS)
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(TEXTS)
def test_composed_and_decomposed_text_fold_alike(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert fold(normalize("NFC", text)) == fold(normalize("NFD", text))


def test_folding_any_character_again_changes_nothing() -> None:
    for character in map(chr, range(0x20000)):
        once = fold(character)
        assert fold(once) == once, hex(ord(character))
