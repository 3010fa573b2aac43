"""Identifies the language of a post. Pure, apart from loading the identifier's tables once.

The identifier is ELD-C, the library `eldc`: n-grams of bytes, 60 languages, tables in the package. It gives each
language a score from 0 to 1, which is not a probability. `docs/languages.md` compares it with other libraries.

These rules turn its scores into a decision. They favour English, because the bundled model reads English, and to lose
an English post is the worse error:

1. Links, handles, hashtags and, from short texts, abbreviations that all languages share are removed. Letters that a
   short text repeats are cut to two. A text without letters has no language.
2. Words tell whether a post is Hindi or Urdu in Latin letters (`hindi_words`), because the identifier takes it for
   English or Malay.
3. A text whose English score is below a lowest one is not English. If no other language leads by a margin, it is in a
   language that the identifier does not know, such as Zulu.
4. Another language must lead English by the margin. Otherwise the language is unknown.

The lowest scores and the margins depend on the length of the text. They were chosen on the training splits, so that
each loses about two of a thousand English posts.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from functools import cache
from typing import Any, Final, NamedTuple

import eldc

from models.text.hindi_words import CLEAR, SHARED
from models.text.normalize import HANDLE, INVISIBLE, LINK

ENGLISH: Final = "en"

UNKNOWN: Final = "und"
"""BCP 47's subtag for a language that is not determined: the text has no letters, or too few to decide."""

UNCODED: Final = "mis"
"""ISO 639's code for languages without a code; here, for a language that the identifier does not know."""

MAX_CHARS: Final = 500
"""The characters of a text that are read. More would not change the decision, and would cost time."""

_LENGTHS: Final = (10, 20, 40, 80)
"""Numbers of characters, without spaces, up to which a text belongs to one of the lengths below."""

_MARGINS: Final = (0.5, 0.3, 0.06, 0.02, 0.02)
"""By length: how much a language must lead English."""

_LOWEST: Final = (0.0, 0.1, 0.34, 0.52, 0.62)
"""By length: the lowest score of an English text."""

_NAMED: Final = 0.45
"""The lowest score with which a language other than English is named, unless the text is short."""

_TOO_SHORT: Final = 3
"""The number of Latin letters that tell nothing."""

_SURE: Final = 0.8
"""A text with a score from this on is not searched for Hindi words."""

_HINDI_SHARE: Final = 0.2
"""The share of Hindi words from which a text is Hindi. None of 25,000 English training posts reaches it."""

_SCORES: Final = 8
"""How many languages the identifier scores. If English is not among them, its score counts as 0."""

_HASHTAG: Final = re.compile(r"#\w+")
_ELONGATED: Final = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)
_NOT_LETTERS: Final = re.compile(r"[\W\d_]+")
_LATIN_WORDS: Final = re.compile(r"[a-z]+")
_SHORT_FORMS = """
afk brb btw dm fomo ftw fyi gg idc idk ikr ily imho imo irl lmao lmaoo lmfao lol lool ngl nvm ofc omfg omg omw
pls plz rip rn rofl rt smh tbf tbh thx tmi ttyl ty tysm wtf xd yolo
"""
_ABBREVIATIONS: Final = frozenset(_SHORT_FORMS.split())
"""Abbreviations that all languages share. A short text of them looks like Chinese or Danish to the identifier."""


class Language(NamedTuple):
    """The language of a text.

    Attributes:
        code: the language subtag of BCP 47, such as `en`; `UNKNOWN` or `UNCODED` if the language has no name.
        confidence: the identifier's score of this language, from 0 to 1. It is not a probability. Of Hindi in Latin
            letters, it is the share of Hindi words. It is 0 if nothing was measured.
    """

    code: str
    confidence: float


def identify(text: str) -> Language:
    """Returns the language of a text.

    Args:
        text: Any string. Only its first `MAX_CHARS` characters are read.
    """
    words = readable(text)
    scores: dict[str, float] = _identifier().detect_details(words).scores
    if not scores:
        # There is no n-gram that any of the languages has.
        letters = len(_NOT_LETTERS.sub("", words))
        return Language(UNCODED if letters > _LENGTHS[1] else UNKNOWN, 0.0)
    # Digits and emoji are counted too: to leave them out would cost as much as the identifier.
    characters = len(words) - words.count(" ")
    if characters <= _TOO_SHORT and words.isascii():
        return Language(UNKNOWN, 0.0)
    best, score = next(iter(scores.items()))
    if score < _SURE and (share := hindi_share(words)) >= _HINDI_SHARE:
        return Language("hi", share)
    return decide(best, score, scores.get(ENGLISH, 0.0), characters)


def decide(best: str, score: float, english: float, characters: int) -> Language:
    """Apply rules 3 and 4.

    Args:
        best: the language with the highest score.
        score: its score.
        english: the score of English.
        characters: the length of the text, without spaces.
    """
    length = bisect_left(_LENGTHS, characters)
    leads = best != ENGLISH and score - english >= _MARGINS[length]
    if english < _LOWEST[length]:
        named = leads and (score >= _NAMED or characters <= _LENGTHS[1])
        return Language(best if named else UNCODED, score)
    return Language(best, score) if leads or best == ENGLISH else Language(UNKNOWN, score)


def readable(text: str) -> str:
    """Returns the part of a text that tells its language; see rule 1. It can be encoded as UTF-8."""
    text = text[:MAX_CHARS]
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii() or "\0" in text:
        text = INVISIBLE.sub("", text)
    if "/" in text or "www." in text:
        text = LINK.sub(" ", text)
    if "@" in text:
        text = HANDLE.sub(" ", text)
    if "#" in text:
        text = _HASHTAG.sub(" ", text)
    if len(text) <= _LENGTHS[2]:
        text = _ELONGATED.sub(r"\1\1", text)
        text = " ".join(word for word in text.split() if word.lower().strip(".,!?") not in _ABBREVIATIONS)
    return text


def hindi_share(text: str) -> float:
    """Returns the share of a text's words that are Hindi or Urdu in Latin letters; 0 if none of them is clearly so."""
    words = set(_LATIN_WORDS.findall(text.lower()))
    clear = words & CLEAR
    return len(clear | (words & SHARED)) / len(words) if clear else 0.0


def knows(code: str) -> bool:
    """Returns whether the identifier knows a language."""
    return code in _known()


@cache
def _known() -> frozenset[str]:
    return frozenset(eldc.LANGUAGES)


@cache
def _identifier() -> Any:  # noqa: ANN401 - the library has no types
    """Returns the identifier, which is thread-safe. The first call loads its tables, which takes some milliseconds."""
    eldc.init()
    identifier = eldc.instance()
    identifier.set_scores(_SCORES)
    return identifier
