"""Decides between the language that a source states and the one that the text shows. Pure, apart from `language`.

A source often states the language of the author's settings, so `en` on a post that is evidently Hindi is a known fault.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from langcodes import Language as Tag
from langcodes.tag_parser import LanguageTagError

from models.classifier import ALL_LANGUAGES
from models.text.language import ENGLISH, UNCODED, UNKNOWN, Language, identify, knows

_SAME: Final = (frozenset({"no", "nb", "nn"}), frozenset({"ms", "id"}), frozenset({"sr", "hr", "bs"}))
"""Languages that the identifier does not tell apart."""

_CONFIDENT: Final = 0.75
"""The score from which a text is English although a source states a language that the identifier does not know.
Welsh, Irish and Maori texts have English scores of up to 0.6."""


@lru_cache(4_096)
def primary(tag: str | None) -> str | None:
    """Returns the language subtag of a BCP 47 tag: `en` of `en-US`, `pt_BR` gives `pt`, and `iw` gives `he`.

    Returns:
        The shortest code of the language; None if the tag names no language: it is malformed, private or not
        registered, or stands for an unknown language (`und`, `zxx`, `mul`).
    """
    try:
        found = Tag.get((tag or "").strip())
        valid = Tag.make(language=found.language).is_valid()
    except LanguageTagError:
        return None
    code = found.language
    if not valid or code is None or code in _NO_LANGUAGES or not code.isalpha() or "qaa" <= code <= "qtz":
        return None
    return _SHORTER.get(code, code)


def check_code(code: str) -> None:
    """Check that a code is one that posts have as their language: the shortest one of a language, in lower case.

    Raises:
        ValueError: It is not. The message says what to give.
    """
    shortest = primary(code)
    if shortest is None or not _CODE.fullmatch(code):
        raise ValueError(f"{code!r} is not a language; give its code of two or three lower-case letters, such as es")
    if shortest != code:
        raise ValueError(f"give {shortest} in place of {code}; posts have the shortest code of a language")


_CODE: Final = re.compile(r"[a-z]{2,3}")
_NO_LANGUAGES: Final = frozenset({UNKNOWN, UNCODED, "zxx", "mul", "art"})
_SHORTER: Final = {"fil": "tl", "cmn": "zh", "yue": "zh", "arb": "ar", "arz": "ar", "nob": "nb", "nno": "nn"}


def reads(languages: Collection[str], code: str) -> bool:
    """Returns whether a model of these languages is to read a post in the language `code`.

    In doubt it is: a model reads posts whose language is unknown.
    """
    if code == UNKNOWN or code in languages or ALL_LANGUAGES in languages:
        return True
    return not not_told_apart(code).isdisjoint(languages)


def not_told_apart(code: str) -> frozenset[str]:
    """Returns the languages that the identifier does not tell apart from `code`, with `code`; often there is none."""
    return next((same for same in _SAME if code in same), frozenset())


def language_of(text: str, stated: str | None) -> Language:
    """Returns the language of a post.

    The stated language is taken if the text does not contradict it:

    - A text without letters, such as one of emoji, has no language, whatever is stated.
    - The identifier found no language: the stated one, with a confidence of 0.
    - It found a language that it does not tell apart from the stated one: the stated one.
    - It found another language, and the stated one is one that it does not know: the stated one, unless the text is
      clearly English.
    - Otherwise: the language that the identifier found.

    Args:
        text: The text of the post.
        stated: The language tag that the source gives; None if there is none.
    """
    found = identify(text)
    claim = primary(stated)
    if claim is None or claim == found.code:
        return found
    if found.code == UNKNOWN:
        return Language(claim, 0.0) if any(map(str.isalpha, text)) else found
    if found.code in not_told_apart(claim):
        return Language(claim, found.confidence)
    if knows(claim) or (found.code == ENGLISH and found.confidence >= _CONFIDENT):
        return found
    return Language(claim, 0.0)
