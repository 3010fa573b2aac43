"""Folds text, so that spellings of the same word are equal: case, width, invisible characters, white space. Pure.

The base is NFKC_Casefold of the Unicode standard (chapter 3.13): compatibility forms such as full-width letters and
ligatures become plain, case is folded (`ß` is `ss`, `ς` is `σ`), and default ignorable characters are removed, such as
zero-width characters, soft hyphens and variation selectors. Beyond it:

- All forms of `i` with and without a dot are `i`. Python folds the Turkish `İ` to two characters, and `I` to `i`.
- Typographic apostrophes, quotes and hyphens are those of ASCII. Phones put them in by themselves.
- Circled numbers, fractions, `™`, `℠` and `ℹ` are set apart. NFKC makes letters and digits of them, and they would
  become a part of the word beside them: `LEGO™` would be `legotm`.
- A run of white space is one space, and there is none at the ends.
"""

from __future__ import annotations

import re
from unicodedata import normalize

# Default_Ignorable_Code_Point of Unicode 15.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_APART = "\u00bc-\u00be\u2120\u2122\u2139\u2150-\u215f\u2189\u2460-\u2473\u24ea\u3251-\u325f\u32b1-\u32bf"
_PLAIN = {
    "\u0149": "'n",
    **dict.fromkeys("\u2018\u2019\u201b\u02bc", "'"),
    **dict.fromkeys("\u201c\u201d\u201f", '"'),
    **dict.fromkeys("\u2010\u2011\u2013\u207b\u208b\u2212\ufe32", "-"),
}

_SPECIAL = re.compile(f"[{_IGNORABLE}{_APART}{''.join(_PLAIN)}]")
_SET_APART = re.compile(f"[{_APART}]")
_DOTTED_I = re.compile("[i\u0131]\u0307*")


def fold(text: str) -> str:
    """Returns the form of `text` in which it is compared. Folding it again changes nothing.

    A lone surrogate, which is not a character, becomes U+FFFD.
    """
    if text.isascii():
        text = text.lower()
        # The only printable white space of ASCII is the space.
        if text.isprintable() and "  " not in text:
            return text.strip()
        return " ".join(text.split())
    text = normalize("NFKC", _SPECIAL.sub(_replacement, text)).casefold()
    if "\u0131" in text or "\u0307" in text:
        text = _DOTTED_I.sub("i", text)
    return with_characters_only(" ".join(normalize("NFKC", text).split()))


def with_characters_only(text: str) -> str:
    """Returns `text` with U+FFFD in place of each lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _replacement(found: re.Match[str]) -> str:
    character = found[0]
    if _SET_APART.match(character):
        return f" {character} "
    return _PLAIN.get(character, "")
