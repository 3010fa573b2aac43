"""The text normalisations: one function each, applied alike to training text and to served posts.

A model only ever sees text that went through the function its manifest names, so a change of behaviour would change
what every trained model is given: functions are versioned by id and pinned by a golden file. Change the behaviour only
together with the id, and retrain.
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
"""What models are trained with today."""

# Control characters but for white space (which collapses below), soft hyphens, zero-width spaces, bidirectional
# marks, byte order marks, interlinear anchors and lone surrogates; the last cannot be encoded as UTF-8 at all.
# The zero-width joiners stay: they hold emoji together and spell words in several scripts.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# What a JSON encoder made of a character, and nobody undid: tweets of some collections say don\u2019t in full.
_ESCAPED = re.compile(r"(?:\\u[0-9A-Fa-f]{4})+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LINK = re.compile(r"(?:\bhttps?://|\bwww\.|\bpic\.twitter\.com/|\bt\.co/)\S+", re.IGNORECASE)
# @name, @name.host (Bluesky) and @name@host.tld (Mastodon), but not the middle of an e-mail address.
_HANDLE = re.compile(r"(?<![\w@/])@\w[\w-]*(?:\.\w[\w-]*)*(?:@\w[\w-]*(?:\.\w[\w-]*)+)?")
# Three or more of one letter, in any mix of case; digits stay, so that 1000 is not 100.
_ELONGATED = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)
# The same in lower-case ASCII, to look whether there are any: a quarter of the time, and most texts have none.
_ASCII_ELONGATED = re.compile(r"([a-z])\1\1")
# Typographic punctuation as keyboards give it: a model must not see don't and don’t as two words.
_PLAIN = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "′": "'", "“": '"', "”": '"', "„": '"', "″": '"', "…": "..."})
# Where emoji begin; looking for one is far cheaper than asking the library about every character. Older symbols that
# only may be drawn as emoji (©, ™, ↔, digits) are left as they are.
_PICTURE = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_SKIN_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
# A name between NULs, of which a text has none left by then; the same one several times at once.
_REPEATED_NAME = re.compile("(\0[^\0]+)\0(?:\\1\0)+")


def normalize(text: str) -> str:
    """Bring one post into the form that models are trained on and served with (``v2``).

    In this order: JSON's escapes and HTML entities are unescaped (once), invisible characters and lone surrogates are
    removed, Unicode is composed (NFC), typographic quotes and dots become plain ones, links become ``http``, handles
    become ``@user``, emoji become their English names (CLDR's, without skin tones; several of the same at once count as
    one), three or more of the same letter become two, and runs of white space become one space, with none at either
    end. Case and punctuation are kept; case is the tokenizer's business.

    Args:
        text: Any string, including an empty one and one with lone surrogates.

    Returns:
        The normalised text; always encodable as UTF-8.
    """
    if "\\u" in text:
        text = _ESCAPED.sub(lambda escapes: str(json.loads(f'"{escapes[0]}"')), text)
    text = _unescaped(text)
    if not text.isascii():
        text = text.translate(_PLAIN)
    # Looking for what every match holds is cheaper than the search.
    if "/" in text or "www." in text.lower():
        text = _LINK.sub("http", text)
    if "@" in text:
        text = _HANDLE.sub("@user", text)
    if not text.isascii() and _PICTURE.search(text):
        named = emoji.replace_emoji(_SKIN_TONE.sub("", text), _name)
        text = _REPEATED_NAME.sub("\\1\0", named).replace("\0", " ")
    return _squeezed(text)


def _unescaped(text: str) -> str:
    text = html.unescape(text)
    if text.isascii() and text.isprintable():
        return text
    # Invisible characters go before composing: one between a letter and its accent would keep them apart.
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))


def _squeezed(text: str) -> str:
    if not text.isascii() or _ASCII_ELONGATED.search(text.lower()):
        text = _ELONGATED.sub(r"\1\1", text)
    return " ".join(text.split())


def encodable(text: str) -> str:
    """Only what must be (``none``): lone surrogates, which no tokenizer takes, become question marks."""
    return _LONE_SURROGATE.sub("?", text)


NORMALIZERS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {NORMALIZATION_ID: normalize, "none": encodable}
)
"""The normalisations that a manifest may name."""


def _name(picture: str, data: dict[str, Any]) -> str:
    """The English name of one emoji between NULs; what is not one by our rule stays."""
    if not _PICTURE.match(picture):
        return picture
    return f"\0{data['en'].strip(':').replace('_', ' ')}\0"
