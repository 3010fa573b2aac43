"""Keywords -> rules of the filtered stream, and queries of the search. Pure.

The language is that of docs.x.com/x-api/posts/filtered-stream/integrate/build-a-rule. X divides a text into words at
spaces and punctuation, and finds words and phrases in it. So a rule finds every post with the keyword, except in
scripts without spaces. It may find others too, and the caller searches the posts again.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.errors import RejectedError

NO_RETWEETS: Final = " -is:retweet"
"""Ends a rule that does not find reposts."""

_OR: Final = " OR "
_OPERATORS: Final = frozenset({"and", "not", "or"})
"""Words that X takes for operators, or refuses as ambiguous, unless they are quoted."""

_ENTITY: Final = re.compile(r"@[A-Za-z0-9_]{1,15}|\$[A-Za-z]{1,6}")
"""A handle or a cashtag, which X finds by its own operator. Quoted, it would be found as a word."""

_NOT_IN_PHRASES: Final = str.maketrans(dict.fromkeys('"\\\u201c\u201d', " "))
"""A phrase has no way to write these. X divides words there anyway."""

_NOT_IN_HASHTAGS: Final = str.maketrans("", "", " -'\u2019")
"""What people leave out when they write a keyword of several words as a hashtag."""

_TERMS: Final = re.compile(r'"[^"]*"|[^\s()"]+')


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the API has it.

    Attributes:
        id: the id that X gives it.
        value: the rule itself.
        tag: the label that its owner gave it; empty if there is none.
    """

    id: str
    value: str
    tag: str


def length(text: str) -> int:
    """Returns the length of a rule in UTF-16 units. X may count code points, of which there are never more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def terms_of(keywords: Iterable[str]) -> list[str]:
    """Returns what a rule says for keywords, each term once, sorted.

    A keyword of several words has two terms: the phrase, and the hashtag that has no spaces.

    Raises:
        RejectedError: A keyword has no character that X can search for.
    """
    found: set[str] = set()
    for keyword in keywords:
        found.add(_term(keyword))
        joined = keyword.translate(_NOT_IN_HASHTAGS)
        if joined != keyword and _is_word(joined):
            found.add(f"#{joined}")
    return sorted(found)


def _term(keyword: str) -> str:
    if _ENTITY.fullmatch(keyword) or (keyword.startswith("#") and _is_word(keyword[1:])):
        return keyword
    if _is_word(keyword) and keyword.lower() not in _OPERATORS:
        return keyword
    phrase = " ".join(keyword.translate(_NOT_IN_PHRASES).split())
    if not phrase:
        raise RejectedError(f"the keyword {keyword!r} has nothing that X could search for")
    return f'"{phrase}"'


def _is_word(text: str) -> bool:
    return text.isalnum() or (
        bool(text) and all(one == "_" or one.isalnum() or unicodedata.category(one)[0] == "M" for one in text)
    )


def packed(
    terms: Iterable[str], *, most_chars: int, ending: str = "", begun: Iterable[Sequence[str]] = ()
) -> list[str]:
    """Returns rules that together have all terms, few of them.

    The longest terms are packed first, each into the rule that has the least room that suffices.

    Args:
        terms: the terms.
        most_chars: the most characters of a rule.
        ending: ends each rule.
        begun: the terms of rules that are there already, and are to be filled up.

    Raises:
        RejectedError: A term is longer than a rule may be.
    """
    rules = [list(rule) for rule in begun]
    empty = most_chars + len(_OR) - length(_value(("", ""), ending)) + len(_OR)
    rooms = sorted((empty - sum(length(term) + len(_OR) for term in rule), at) for at, rule in enumerate(rules))
    for term in sorted(terms, key=lambda one: (-length(one), one)):
        needed = length(term) + len(_OR)
        if needed > empty:
            raise RejectedError(f"the keyword {term} is longer than a rule of {most_chars} characters allows")
        found = bisect_left(rooms, (needed, 0))
        if found == len(rooms):
            rules.append([])
            room, at = empty, len(rules) - 1
        else:
            room, at = rooms.pop(found)
        rules[at].append(term)
        insort(rooms, (room - needed, at))
    return [_value(rule, ending) for rule in rules]


def _value(terms: Sequence[str], ending: str) -> str:
    joined = _OR.join(terms)
    return f"({joined}){ending}" if ending and len(terms) > 1 else joined + ending


def planned(terms: Sequence[str], present: Iterable[str], *, most_chars: int, ending: str) -> list[str]:
    """Returns the rules that are wanted: as few as packing them anew would give, and as many old ones as possible.

    Args:
        terms: the terms that are wanted.
        present: the rules that are there already.
        most_chars: the most characters of a rule.
        ending: ends each rule.

    Raises:
        RejectedError: A term is longer than a rule may be.
    """
    anew = packed(terms, most_chars=most_chars, ending=ending)
    left, kept = set(terms), []
    for value in present:
        found = [term for term in _TERMS.findall(value.removesuffix(ending)) if term != _OR.strip()]
        if length(value) <= most_chars and found and left.issuperset(found):
            kept.append(found)
            left.difference_update(found)
    filled = packed(left, most_chars=most_chars, ending=ending, begun=kept)
    return filled if len(filled) <= len(anew) else anew
