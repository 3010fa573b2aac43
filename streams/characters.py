r"""Characters that cannot be stored, and texts that are too long. Pure.

U+0000 cannot be stored in PostgreSQL, and a lone surrogate is no character and cannot be written in UTF-8. A broken
program, or a cut through the middle of an emoji, puts them into JSON as `\u0000` and `\ud83d`. Each becomes U+FFFD.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

REPLACEMENT: Final = "\ufffd"

_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_INVALID: Final = re.compile("[\0\ud800-\udfff]")
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u0000|u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape in JSON, or two that are one character. The group is an escape of a character that cannot be stored."""

_JOINER: Final = "\u200d"
_MODIFIERS: Final = range(0x1F3FB, 0x1F400)
_LONGEST_CHARACTER: Final = 32
"""The most code points that belong to one character as people see it; there are no longer emoji."""


def cleaned(text: str) -> str:
    """Returns a text with U+FFFD in place of each U+0000 and each lone surrogate.

    A high and a low surrogate together become the character that they stand for.
    """
    if is_clean(text):
        return text
    whole = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _INVALID.sub(REPLACEMENT, whole)


def is_clean(text: str) -> bool:
    """Returns whether a text has neither U+0000 nor a lone surrogate."""
    return "\0" not in text and (text.isascii() or _encodable(text))


def cleaned_json(value: bytes) -> bytes:
    r"""Returns JSON with U+FFFD in place of each `\u0000` and each escape of a lone surrogate.

    Surrogates that were written as bytes, as if they were characters, are replaced too. Anything else is unchanged,
    also if it is not JSON.
    """
    if b"\xed" in value:
        value = _without_surrogates(value)
    return _ESCAPE.sub(_cleaned_escape, value) if b"\\u" in value else value


def cut(text: str, max_chars: int) -> str:
    """Returns the first `max_chars` characters of a text, or a few less so that no emoji or accent is torn apart."""
    end = max_chars
    if len(text) <= end:
        return text
    for _ in range(_LONGEST_CHARACTER):
        if end < 1 or not (_continues(text[end]) or text[end - 1] == _JOINER):
            break
        end -= 1
    return text[:end] if end else text[:max_chars]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_surrogates(value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        try:
            text = value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return value
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return value


def _cleaned_escape(found: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if found[1] else found[0]


def _continues(character: str) -> bool:
    """Returns whether a code point belongs to the one before it."""
    return character == _JOINER or ord(character) in _MODIFIERS or unicodedata.category(character) in {"Mn", "Me"}
