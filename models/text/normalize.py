"""The text normalisations: one function for each, applied to training texts and to served posts alike.

A model gets only text that the function named in its manifest has normalised. If the function's behaviour changed,
every model trained with it would get other texts than in training. So each function has an id, and a golden file fixes
its behaviour. To change the behaviour, add a function with a new id, and train new models.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import emoji

NORMALIZATION_ID: Final = "v2"
"""The normalisation that new models are trained with."""

# Control characters except white space (which is collapsed later), soft hyphens, zero-width spaces, bidirectional
# marks, byte order marks, interlinear anchors, and lone surrogates, which cannot be encoded as UTF-8. Zero-width
# joiners are kept: they join emoji, and words in several scripts need them.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# An escape that a JSON encoder wrote and that was never decoded: some collections have tweets with a literal
# don\u2019t.
_ESCAPED = re.compile(r"(?:\\u[0-9A-Fa-f]{4})+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
LINK = re.compile(r"(?:\bhttps?://|\bwww\.|\bpic\.twitter\.com/|\bt\.co/)\S+", re.IGNORECASE)
# @name, @name.host (Bluesky) and @name@host.tld (Mastodon), but not a part of an e-mail address.
HANDLE = re.compile(r"(?<![\w@/])@\w[\w-]*(?:\.\w[\w-]*)*(?:@\w[\w-]*(?:\.\w[\w-]*)+)?")
# Three or more of the same letter, in any mix of case. Digits are not included, because 1000 is not 100.
_ELONGATED = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)
# The same for lower-case ASCII letters. This check takes a quarter of the time, and most texts do not match.
_ASCII_ELONGATED = re.compile(r"([a-z])\1\1")
# Typographic punctuation becomes ASCII, so that don't and don’t are the same word for a model.
_PLAIN = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "′": "'", "“": '"', "”": '"', "„": '"', "″": '"', "…": "..."})
# The first characters of emoji. Searching for one is much faster than asking the library about every character. Older
# symbols that are emoji only in some fonts (©, ™, ↔, digits) are left as they are.
_PICTURE = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_SKIN_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
# The name of an emoji between NULs, several times in a row. The text itself has no NULs at this step.
_REPEATED_NAME = re.compile("(\0[^\0]+)\0(?:\\1\0)+")


def normalize(text: str) -> str:
    """Normalise one text (``v2``).

    The steps, in this order:

    1. JSON escapes and HTML entities are decoded, once.
    2. Invisible characters and lone surrogates are removed, and Unicode is composed (NFC).
    3. Typographic quotes and dots become ASCII.
    4. Links become ``http``, and handles become ``@user``.
    5. Emoji become their English names (CLDR), without skin tones. Repetitions of the same emoji become one name.
    6. Three or more of the same letter become two.
    7. White space becomes single spaces, with none at either end.

    Case and punctuation are kept. The tokenizer decides about case.

    Args:
        text: Any string; it may be empty or contain lone surrogates.

    Returns:
        The normalised text, which can always be encoded as UTF-8.
    """
    if "\\u" in text:
        text = _ESCAPED.sub(lambda escapes: str(json.loads(f'"{escapes[0]}"')), text)
    text = _unescaped(text)
    if not text.isascii():
        text = text.translate(_PLAIN)
    # Each of these checks is faster than the search, and most texts do not match.
    if "/" in text or "www." in text.lower():
        text = LINK.sub("http", text)
    if "@" in text:
        text = HANDLE.sub("@user", text)
    if not text.isascii() and _PICTURE.search(text):
        named = emoji.replace_emoji(_SKIN_TONE.sub("", text), _name)
        text = _REPEATED_NAME.sub("\\1\0", named).replace("\0", " ")
    return _squeezed(text)


def _unescaped(text: str) -> str:
    text = html.unescape(text)
    if text.isascii() and text.isprintable():
        return text
    # Invisible characters are removed first: one between a letter and its accent would prevent their composition.
    return unicodedata.normalize("NFC", INVISIBLE.sub("", text))


def _squeezed(text: str) -> str:
    if not text.isascii() or _ASCII_ELONGATED.search(text.lower()):
        text = _ELONGATED.sub(r"\1\1", text)
    return " ".join(text.split())


def encodable(text: str) -> str:
    """Replace lone surrogates, which no tokenizer accepts, by question marks (``none``); nothing else is changed."""
    return _LONE_SURROGATE.sub("?", text)


NORMALIZERS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {NORMALIZATION_ID: normalize, "none": encodable}
)
"""The normalisations that a manifest may name."""


def _name(picture: str, data: dict[str, Any]) -> str:
    """Returns the English name of an emoji between NULs; a symbol that is not an emoji by `_PICTURE` is kept."""
    if not _PICTURE.match(picture):
        return picture
    return f"\0{data['en'].strip(':').replace('_', ' ')}\0"
