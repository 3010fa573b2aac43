"""Which keywords are found in which texts, and which keywords a post of a source has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from unicodedata import category, decomposition, normalize

import pytest

from connectors.errors import UnavailableError
from connectors.sources.events import SourcePost
from streams.ingest.keywords.folding import fold
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.keywords.selection import Selection
from tests.helpers import NOON


def found(keyword: str, text: str, *hashtags: str) -> bool:
    matches = Matcher([parse_keyword(keyword)]).find(text, hashtags)
    assert matches in {(), (parse_keyword(keyword),)}
    return bool(matches)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        # The cases of public bug reports.
        ("好用", "手机好用吗"),
        ("晚报", "晚报2点发"),
        ("update", "I hate this update"),
        ("update", "I h\u200ba\u200bt\u200be this up\u00addate"),
        *((word, f"about {word} today") for word in ("C++", "a|b", "[sale]", "foo*", "what?", "back\\slash")),
        ("60|1772366400000|x", "60|1772366400000|x"),
        ("%2F..%2F", "see %2F..%2F"),
        ("naïve café", "A NAI\u0308VE CAFE\u0301!"),
        # Case, width and compatibility forms.
        ("iphone", "Ｍｙ ＩＰＨＯＮＥ"),
        ("STRASSE", "die Straße"),
        ("straße", "DIE STRASSE"),
        ("straße", "DIE STRAẞE"),
        ("ΟΔΟΣ", "η οδος"),
        ("οδός", "ΟΔΌΣ"),
        ("istanbul", "İSTANBUL güzel"),
        ("İstanbul", "ISTANBUL"),
        ("ışık", "IŞIK"),
        ("ﬁne", "fine"),
        ("𝐢𝐏𝐡𝐨𝐧𝐞", "an iPhone"),
        ("カメラ", "ｶﾒﾗを買う"),
        ("ガラス", "ｶﾞﾗｽ"),
        ("한국", normalize("NFD", "한국")),
        # Marks and invisible characters.
        ("❤", "so ❤️ this"),
        ("❤️", "so ❤ this"),
        ("می‌خواهم", "من میخواهم"),
        ("word", "\u202bword\u202c"),
        ("iPhone", "LEGO™iPhone"),
        ("LEGO", "LEGO™ bricks"),
        ("iPhone", "①iPhone②iPad"),
        ("iPhone", "1️⃣iPhone 2️⃣iPad"),
        ("iPhone", "ℹ️iPhone"),
        # Phones replace apostrophes and hyphens.
        ("McDonald's", "at McDonald’s"),
        ("McDonald’s", "at McDonald's"),
        ("Coca-Cola", "a Coca\u2011Cola"),
        # Whole words.
        ("apple", "Apple's new phone"),
        ("iPhone", "l'iPhone"),
        ("phone", "(phone)"),
        ("phone", "#phone"),
        ("phone", "＃phone"),
        ("phone", "smart-phone"),
        ("phone", "love❤️phone"),
        ("new york", "in New\n  York,"),
        ("C", "C or C++"),
        # Scripts without spaces.
        ("iPhone", "新iPhone発売"),
        ("カメラ", "デジタルカメラを"),
        ("เมือง", "ในเมืองไทย"),
        ("ราคา", "เช็คราคาล่าสุด"),
        ("ລາວ", "ປະເທດລາວງາມ"),
        ("ខ្មែរ", "ភាសាខ្មែរល្អ"),
        ("မြန်မာ", "ကမြန်မာပြည်"),
        ("གངས", "བོདགངསལྗོངས"),
        # Korean: particles follow the noun.
        ("삼성", "삼성은 좋다"),
        ("iPhone", "iPhone을 샀다"),
        ("갤럭시", "새 갤럭시S24"),
        # Flags.
        ("🇩🇪", "🇬🇧🇩🇪"),
        ("👍", "👍🏽"),
    ],
)
def test_found(keyword: str, text: str) -> None:
    assert found(keyword, text)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("lt.", "Mal sehen, ob der Akku hält."),
        ("lt.", "Mal sehen, ob der Akku ha\u0308lt."),
        ("phone", "smartphone"),
        ("phone", "phones"),
        ("phone", "my_phone"),
        ("5", "a 15"),
        ("art", "Straße start"),
        ("cafe", "cafe\u0301"),
        ("x", "x\u0323\u0301"),
        ("b", "a\u0323\u0301b\u0323"),
        ("foo*", "foobar"),
        ("a.b", "axb"),
        ("[ab]", "a"),
        ("new york", "newyork"),
        ("new york", "new, york"),
        ("삼성", "새삼성"),
        # A vowel or a stacked consonant is not cut off.
        ("มา", "เขาเมา"),
        ("ก", "กิน"),
        ("រ", "ខ្រ"),
        # The pairs are GB and DE; between them there would be BD.
        ("🇧🇩", "🇬🇧🇩🇪"),
        ("update", "up date"),
    ],
)
def test_not_found(keyword: str, text: str) -> None:
    assert not found(keyword, text)


@pytest.mark.parametrize(
    ("keyword", "text", "hashtags"),
    [
        ("new york", "#NewYork is great", ()),
        ("new york", "so great", ("NewYork",)),
        ("new york", "so great", ("New York",)),
        ("McDonald's", "#mcdonalds", ()),
        ("Coca-Cola", "so great", ("CocaCola",)),
        ("#sale", "a #Sale", ()),
        ("#sale", "", ("SALE",)),
        ("sale", "", ("sale",)),
        ("好用", "", ("手机好用",)),
    ],
)
def test_hashtags(keyword: str, text: str, hashtags: Sequence[str]) -> None:
    assert found(keyword, text, *hashtags)


@pytest.mark.parametrize(
    ("keyword", "text", "hashtags"),
    [
        ("#sale", "a sale", ()),
        ("#sale", "#sales", ()),
        ("new york", "", ("NewYorkCity",)),
        ("C++", "#C", ()),
        ("great new", "so great", ("new",)),
        ("sale", "", ("wholesale",)),
    ],
)
def test_no_hashtag(keyword: str, text: str, hashtags: Sequence[str]) -> None:
    assert not found(keyword, text, *hashtags)


def test_keywords_come_as_they_were_added_in_the_order_of_the_text_each_once() -> None:
    matcher = Matcher(["Galaxy S24", "iPhone", "galaxy", "手机", "#NewYork", "new york"])
    assert len(matcher) == 6
    text = "手机: GALAXY s24 or IPHONE? galaxy! #newyork"
    assert matcher.find(text) == ("手机", "galaxy", "Galaxy S24", "iPhone", "#NewYork", "new york")


def test_of_two_spellings_the_last_is_found() -> None:
    matcher = Matcher(["iPhone", "IPHONE"])
    assert len(matcher) == 1
    assert matcher.find("iphone") == ("IPHONE",)


def test_a_lone_surrogate_in_a_text_is_no_error() -> None:
    assert found("phone", "\ud83d phone \udc00")
    assert not found("phone", "phone".replace("o", "\ud800"))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("*", "stands for all posts"),
        (" ＊ ", "stands for all posts"),
        ("", "empty"),
        (" \n ", "empty"),
        ("\u200b\u00ad", "empty"),
        ("\u200d\ufe0f", "invisible"),
        ("\u0301a", "combining mark"),
        ("a\0b", "control character"),
        ("a\x1b[31m", "control character"),
        ("a\ud800", "surrogate"),
        ("x" * 201, "201 characters"),
    ],
)
def test_what_cannot_be_a_keyword_is_refused(given: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_keyword(given)


def test_a_keyword_keeps_its_spelling() -> None:
    assert parse_keyword("  Galaxy \u00a0 S24\u200b ") == "Galaxy S24"
    assert parse_keyword("C++ *") == "C++ *"
    assert parse_keyword("x" * 200) == "x" * 200


def test_numbers_in_circles_and_fractions_do_not_become_part_of_a_word() -> None:
    apart = {"<circle>", "<fraction>"}
    for character in map(chr, range(sys.maxunicode + 1)):
        digits = any(one.isdecimal() for one in fold(character))
        if digits and category(character) == "No" and decomposition(character).split(" ")[0] in apart:
            assert fold(f"a{character}a").split() == ["a", *fold(character).split(), "a"], hex(ord(character))


def post(text: str, *hashtags: str) -> SourcePost:
    return SourcePost(id="1", text=text, created_at=NOON, keywords=hashtags)


def test_a_post_without_a_keyword_is_dropped() -> None:
    selection = Selection(lambda: Matcher(["iPhone"]), keep_unmatched=False)
    assert selection.keywords_of(post("my IPHONE", "love")) == ("iPhone",)
    assert selection.keywords_of(post("so good", "iPhone")) == ("iPhone",)
    assert selection.keywords_of(post("my phone", "phone")) is None
    assert (selection.kept, selection.cut) == (2, 0)


def test_a_post_without_a_keyword_may_be_kept() -> None:
    selection = Selection(lambda: Matcher(["iPhone"]), keep_unmatched=True)
    assert selection.keywords_of(post("my phone", "phone")) == ()
    assert selection.kept == 1


def test_without_keywords_every_post_is_kept() -> None:
    selection = Selection(lambda: Matcher([]), keep_unmatched=False)
    assert selection.keywords_of(post("my phone", "phone")) == ()
    assert selection.kept == 1


def test_a_post_has_at_most_64_keywords() -> None:
    words = [f"word{number:03d}" for number in range(100)]
    selection = Selection(lambda: Matcher(reversed(words)), keep_unmatched=False)
    assert selection.keywords_of(post(" ".join(words))) == tuple(words[:64])
    assert selection.cut == 1


def test_the_keywords_may_change_between_two_posts() -> None:
    matchers = iter([Matcher(["tea"]), Matcher(["tea", "coffee"])])
    selection = Selection(lambda: next(matchers), keep_unmatched=False)
    assert selection.keywords_of(post("coffee")) is None
    assert selection.keywords_of(post("coffee")) == ("coffee",)


def test_the_keywords_are_the_same_object_until_they_change() -> None:
    matchers = [Matcher(["tea"])]
    selection = Selection(lambda: matchers[-1], keep_unmatched=False)
    before = selection.keywords()
    assert before == ("tea",)
    assert selection.keywords() is before
    matchers.append(Matcher(["tea", "Coffee", "coffee"]))
    assert selection.keywords() == ("tea", "coffee")


def test_no_post_is_dropped_while_the_keywords_are_not_known() -> None:
    def unknown() -> Matcher:
        raise UnavailableError("the keywords are not known yet")

    selection = Selection(unknown, keep_unmatched=False)
    with pytest.raises(UnavailableError):
        selection.keywords_of(post("coffee"))
    assert selection.kept == 0
