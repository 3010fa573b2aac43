"""Where a keyword may begin and end in a text. Pure.

In scripts that separate words by spaces a keyword is a whole word: its neighbours must not be word characters, which
are letters, marks, digits and connecting punctuation (Unicode Technical Standard 18, Annex C). In scripts that do not,
such as Han, Kana and Thai, a keyword may be anywhere, but never cuts a character from its marks. In Korean it must
begin where a word begins, and may end inside, because particles follow a noun without a space.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Final
from unicodedata import category, name

_WITHOUT_SPACES = (
    "AHOM ",
    "BALINESE ",
    "BOPOMOFO ",
    "CJK ",
    "HENTAIGANA ",
    "HIRAGANA ",
    "IDEOGRAPHIC ",
    "JAVANESE ",
    "KATAKANA",
    "KHMER ",
    "LAO ",
    "MYANMAR ",
    "NEW TAI LUE ",
    "NUSHU ",
    "TAI ",
    "TANGUT ",
    "THAI ",
    "TIBETAN ",
    "VERTICAL IDEOGRAPHIC ",
    "YI ",
)
"""How the names of characters begin in scripts that do not separate words by spaces. Names never change."""


class Kind(Enum):
    """What a character is for the edges of words."""

    OTHER = auto()
    """No word character: a space, punctuation, a symbol, an emoji."""

    WORD = auto()
    """A word character of a script with spaces, or a digit."""

    HANGUL = auto()
    FREE = auto()
    """A word character of a script without spaces."""

    LEADING = auto()
    """A vowel of Thai or Lao that is written before the consonant to which it belongs."""

    MARK = auto()
    STACKER = auto()
    """A sign of Burmese, Khmer or Tai Tham that puts the next consonant below the one before."""

    ENCLOSING = auto()
    """A mark that makes a symbol of the character before it, as in a keycap."""

    FLAG = auto()
    """A regional indicator. Two of them are a flag."""


_SPECIAL = {
    **dict.fromkeys("\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4", Kind.LEADING),
    **dict.fromkeys("\u1039\u17d2\u1a60", Kind.STACKER),
    **dict.fromkeys(map(chr, range(0x1F1E6, 0x1F200)), Kind.FLAG),
}
_MARKS = {"Mn": Kind.MARK, "Mc": Kind.MARK, "Me": Kind.ENCLOSING}
"""By general category."""


@lru_cache(maxsize=16_384)
def kind(character: str) -> Kind:
    """Returns the kind of a character."""
    general = category(character)
    special = _SPECIAL.get(character) or _MARKS.get(general)
    if special is not None:
        return special
    if not character.isalnum() and general != "Pc":
        return Kind.OTHER
    own_name = name(character, "")
    if own_name.startswith("HANGUL "):
        return Kind.HANGUL
    return Kind.FREE if own_name.startswith(_WITHOUT_SPACES) else Kind.WORD


# Whole numbers, because they are compared for each match, and members of an Enum are slow.
NO_EDGE: Final = 0
MAY_END: Final = 1
MAY_BEGIN: Final = 2
UNKNOWN: Final = 4
"""It depends on the characters before: the first one is a mark, or both are parts of flags."""


def edge(left: Kind, right: Kind) -> int:
    """Returns whether a keyword may end and begin between two characters of these kinds: a sum of constants."""
    if right in {Kind.MARK, Kind.STACKER, Kind.ENCLOSING}:
        return NO_EDGE
    if left is Kind.MARK or left is right is Kind.FLAG:
        return UNKNOWN
    if left is right is Kind.HANGUL:
        return MAY_END
    one_syllable = left in {Kind.LEADING, Kind.STACKER} and right is Kind.FREE
    return NO_EDGE if one_syllable or left is right is Kind.WORD else MAY_END + MAY_BEGIN


class _Edges(dict[str, int]):
    """The edges between two characters, by the two characters. Faster than a cached function."""

    def __missing__(self, pair: str) -> int:
        if len(self) >= _MOST_PAIRS:
            self.clear()
        found = self[pair] = edge(kind(pair[0]), kind(pair[1]))
        return found


_MOST_PAIRS = 65_536
_EDGES = _Edges()


def is_whole(text: str, begin: int, end: int) -> bool:
    """Returns whether a part of a text is whole, so that it may be a keyword.

    Args:
        text: A folded text with a character before and after the part.
        begin: Where the part begins, at least 1.
        end: Where the part ends, less than the length of the text.
    """
    before = _EDGES[text[begin - 1 : begin + 1]]
    if before == UNKNOWN:
        before = _edge_at(text, begin)
    if not before & MAY_BEGIN:
        return False
    after = _EDGES[text[end - 1 : end + 1]]
    if after == UNKNOWN:
        after = _edge_at(text, end)
    return bool(after & MAY_END)


def _edge_at(text: str, position: int) -> int:
    """Returns the edge between the characters beside a position, given all characters before them."""
    begin = position - 1
    if (left := kind(text[begin])) is Kind.FLAG:
        # The flags of a run are pairs from its beginning on.
        while begin > 0 and kind(text[begin - 1]) is Kind.FLAG:
            begin -= 1
        return NO_EDGE if (position - begin) % 2 else MAY_END + MAY_BEGIN
    # What counts is the character that bears the marks.
    while left is Kind.MARK and begin > 0:
        begin -= 1
        left = kind(text[begin])
    # A flag with a mark is not a part of another flag.
    return edge(Kind.OTHER if left in {Kind.MARK, Kind.FLAG} else left, kind(text[position]))
