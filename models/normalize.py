"""The one text normalisation, applied alike to training text and to served posts.

A model only ever sees text that went through `normalize`, so a change here changes what every trained model is given:
it is versioned. `NORMALIZATION_ID` names the behaviour that a package's manifest records, and a package that names
another id is refused at load. Change the behaviour only together with the id, and retrain.
"""

import html
import re
import unicodedata
from typing import Final

NORMALIZATION_ID: Final = "v1"

# Control characters but for white space (which collapses below), soft hyphens, zero-width spaces, bidirectional
# marks, byte order marks, interlinear anchors and lone surrogates; the last cannot be encoded as UTF-8 at all.
# The zero-width joiners stay: they hold emoji together and spell words in several scripts.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LINK = re.compile(r"(?:\bhttps?://|\bwww\.|\bpic\.twitter\.com/|\bt\.co/)\S+", re.IGNORECASE)
# @name, @name.host (Bluesky) and @name@host.tld (Mastodon), but not the middle of an e-mail address.
_HANDLE = re.compile(r"(?<![\w@/])@\w[\w-]*(?:\.\w[\w-]*)*(?:@\w[\w-]*(?:\.\w[\w-]*)+)?")
# Three or more of one letter, in any mix of case; digits stay, so that 1000 is not 100.
_ELONGATED = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)


def normalize(text: str) -> str:
    """Bring one post into the form that models are trained on and served with.

    In this order: HTML entities are unescaped (once), invisible characters and lone surrogates are removed, Unicode
    is composed (NFC), links become ``http``, handles become ``@user``, three or more of the same letter become
    two, and runs of white space become one space, with none at either end. Case, punctuation and emoji are kept; case
    is the tokenizer's business.

    Args:
        text: Any string, including an empty one and one with lone surrogates.

    Returns:
        The normalised text; always encodable as UTF-8.
    """
    # Invisible characters go before composing: one between a letter and its accent would keep them apart.
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", html.unescape(text)))
    text = _LINK.sub("http", text)
    text = _HANDLE.sub("@user", text)
    text = _ELONGATED.sub(r"\1\1", text)
    return " ".join(text.split())
