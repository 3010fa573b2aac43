"""The words of a text, in any language, as far as they can tell what posts are about. Pure.

Scripts that separate words by spaces have words. Scripts that do not, such as Han, Kana and Thai, have pairs of
neighbouring characters, which need no dictionary. An emoji is a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from models.text.normalize import HANDLE, LINK

MAX_WORD_CHARS: Final = 40
"""Longer ones are no words, but keys, hashes and the like."""

MAX_TEXT_CHARS: Final = 5_000
"""The characters of a text whose words count."""

_WITHOUT_SPACES: Final = (
    "BOPOMOFO ", "CJK ", "HENTAIGANA ", "HIRAGANA ", "IDEOGRAPHIC ", "KATAKANA", "KHMER ", "LAO ", "MYANMAR ", "THAI ",
    "TIBETAN ",
)  # fmt: skip
"""How the names of characters begin in scripts that do not separate words by spaces."""

_APOSTROPHES: Final = str.maketrans("’ʼ＇", "'''")
_APOSTROPHE: Final = "'"
_IGNORABLE: Final = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff]"
)
"""Invisible characters, marks of direction, variation selectors, and skin tones."""

_TOKEN: Final = re.compile("[wd](?:[wdm']*[wdm])?|(?:fm*)+|p")
"""A word or a number, a run of a script without spaces, or an emoji, in the classes of `_class`."""


def words_of(text: str, without: Collection[str] = ()) -> frozenset[str]:
    """Returns the words of a text, each once, in lower case.

    Links, mentions, numbers and single letters are left out, and the words of `without`. A hashtag is the word
    without its sign.
    """
    text = LINK.sub(" ", HANDLE.sub(" ", text[:MAX_TEXT_CHARS]))
    text = unicodedata.normalize("NFKC", _IGNORABLE.sub("", text)).casefold().translate(_APOSTROPHES)
    classes = "".join(map(_class, text))
    found: set[str] = set()
    for match in _TOKEN.finditer(classes):
        token = text[match.start() : match.end()]
        first = classes[match.start()]
        if first == "p":
            found.add(token)
        elif first == "f":
            found.update(_pairs(token, match[0]))
        elif "w" in match[0] and 1 < len(token) <= MAX_WORD_CHARS:
            found.add(token)
    return frozenset(found.difference(without))


def _pairs(token: str, classes: str) -> list[str]:
    """Returns the pairs of neighbouring characters, each with its marks; the character itself if it is alone."""
    starts = [at for at, kind in enumerate(classes) if kind == "f"]
    if len(starts) == 1:
        return [token]
    ends = [*starts[2:], len(token)]
    return [token[start:end] for start, end in zip(starts[:-1], ends, strict=True)]


@lru_cache(maxsize=16_384)
def _class(character: str) -> str:
    """Returns w for a letter, f for one of a script without spaces, m for a mark, d for a digit, p for an emoji."""
    category = unicodedata.category(character)
    if category[0] == "L":
        return "f" if unicodedata.name(character, "").startswith(_WITHOUT_SPACES) else "w"
    if category[0] == "M":
        return "m"
    if category[0] == "N":
        return "d"
    if character == _APOSTROPHE:
        return "'"
    if category == "So" and ord(character) >= 0x2600:
        return "p"
    return " "
