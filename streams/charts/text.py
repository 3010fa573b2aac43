"""Measures and shortens the texts of charts without a font, and makes any string safe to draw. Pure.

The widths are upper bounds for DejaVu Sans, in which PNGs are drawn. Verdana, which many browsers use in its place, has
the same widths.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from streams.characters import REPLACEMENT, cleaned, cut

BASELINE: Final = 0.36
"""How far below the middle of a line its baseline is, as a share of the font's size."""

_BOLD: Final = 1.14
_NARROW: Final = 0.41
_USUAL: Final = 0.66
_WIDE: Final = 1.03
_WIDTHS: Final = {
    **dict.fromkeys("ijlI.,:;'|!()[]/\\·’‘f-", _NARROW),
    **dict.fromkeys("t", 0.43),
    **dict.fromkeys(" ", 0.33),
    **dict.fromkeys("0123456789", 0.64),
    **dict.fromkeys("mwMW@%…—æœшщжюыфмМ", _WIDE),
    **dict.fromkeys("ÆŒЖШЩЮЫФ", 1.17),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&#$+=<>~^", 0.85),
}
"""Widths of characters, as shares of the font's size."""

MAX_CHARS: Final = 1000
"""Characters of a text that are looked at. A line of a chart has room for far fewer."""

_STACKS: Final = re.compile("([\u0300-\u036f]{3})[\u0300-\u036f]+")
"""Accents above accents, which would cover the lines above and below."""

_SPACES: Final = frozenset(["Zs", "Zl", "Zp"])
_JOINERS: Final = "\u200c\u200d\ufe0e\ufe0f"


def drawable(text: str) -> str:
    """Returns a text of one line that can be drawn and be a part of XML.

    Line breaks and tabs become spaces. Control characters and code points without a character become U+FFFD. Marks of
    the direction of text are left out, because they would change the text beside them. So is what follows
    `MAX_CHARS`, and all but three accents of a stack.
    """
    return _STACKS.sub(r"\1", "".join(_drawable(character) for character in cleaned(text[:MAX_CHARS]))).strip()


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Returns at least the width of a text, in pixels, in a font of `size` pixels."""
    return sum(_width(character) for character in text) * size * (_BOLD if bold else 1.0)


def shortened(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """Returns the text, or its beginning and an ellipsis, so that it is at most `room` pixels wide.

    A text of which not one character fits is the ellipsis alone.
    """
    if text_width(text, size, bold=bold) <= room:
        return text
    low, high = 0, min(len(text), int(room / (0.1 * size)) + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(cut(text, middle).rstrip() + "…", size, bold=bold) <= room:
            low = middle
        else:
            high = middle - 1
    return cut(text, low).rstrip() + "…"


def wrapped(words: list[str], size: float, room: float, *, rows: int) -> list[str]:
    """Returns the words, with commas between them, in at most `rows` lines of at most `room` pixels.

    The last line says how many words have no room.
    """
    lines: list[str] = []
    line = ""
    for index, word in enumerate(words):
        last = index == len(words) - 1
        word = shortened(word, size, room / 2) + ("" if last else ", ")  # noqa: PLW2901 - the word with its comma
        rest = f"and {len(words) - index} more"
        reserved = 0 if last or len(lines) < rows - 1 else text_width(f"and {len(words)} more", size)
        if text_width(line + word.rstrip(), size) + reserved <= room:
            line += word
        elif len(lines) == rows - 1:
            return [*lines, line + rest]
        else:
            lines.append(line.rstrip())
            line = word
    return [*lines, line.rstrip()] if line else lines


def _drawable(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if character in "\n\r\t" or category in _SPACES:
        return " "
    if category in ("Cc", "Cn", "Cs"):
        return REPLACEMENT
    return "" if category == "Cf" and character not in _JOINERS else character


def _width(character: str) -> float:
    known = _WIDTHS.get(character)
    if known is not None:
        return known
    if character.isascii():
        return _USUAL
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf"):
        return 0.0
    # Letters with accents, and two letters in one.
    parts = unicodedata.normalize("NFKD", character)
    if parts != character:
        return max(0.5, 1.05 * sum(map(_width, parts)))
    return {"Lu": 1.13, "Ll": 1.0}.get(category, _WIDE)
