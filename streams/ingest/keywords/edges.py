"""Where a keyword may begin and end in a text. Pure.

In scripts that separate words by spaces a keyword is a whole word: its neighbours must not be word characters, which
are letters, marks, digits and connecting punctuation (Unicode Technical Standard 18, Annex C). In scripts that do not,
such as Han, Kana and Thai, a keyword may be anywhere, but never cuts a character from its marks. In Korean it must
begin where a word begins, and may end inside, because particles follow a noun without a space.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
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


def may_begin(text: str, position: int) -> bool:
    """Returns whether a keyword may begin at a position of a folded text."""
    if position == 0:
        return True
    left, right = _kind_before(text, position), kind(text[position])
    return not (_joined(text, position, left, right) or left is right is Kind.HANGUL)


def may_end(text: str, position: int) -> bool:
    """Returns whether a keyword may end before a position of a folded text."""
    if position == len(text):
        return True
    return not _joined(text, position, _kind_before(text, position), kind(text[position]))


def _joined(text: str, position: int, left: Kind, right: Kind) -> bool:
    """Returns whether the characters beside a position belong together, whatever the word is."""
    if right in {Kind.MARK, Kind.STACKER, Kind.ENCLOSING}:
        return True
    if left in {Kind.LEADING, Kind.STACKER}:
        return right is Kind.FREE
    if left is right is Kind.FLAG:
        # The flags of a run are pairs from its beginning on.
        return (position - _begin_of_flags(text, position)) % 2 == 1
    return left is right is Kind.WORD


def _kind_before(text: str, position: int) -> Kind:
    """Returns the kind of the character before a position; if that is a mark, of the character that bears the mark."""
    while position > 0:
        position -= 1
        found = kind(text[position])
        if found is not Kind.MARK:
            return Kind.OTHER if found is Kind.ENCLOSING else found
    return Kind.WORD


def _begin_of_flags(text: str, position: int) -> int:
    while position > 0 and kind(text[position - 1]) is Kind.FLAG:
        position -= 1
    return position
