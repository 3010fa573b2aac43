"""Checks a keyword that somebody gives. Pure."""

from __future__ import annotations

import re

from streams.ingest.keywords.edges import Kind, kind
from streams.ingest.keywords.folding import fold
from streams.records import ALL_KEYWORDS
from streams.records.values import MAX_KEYWORD_CHARS

# Soft hyphens, zero-width spaces, and characters that change the direction of text. They come with copied text, and
# nobody sees that two keywords differ in them.
_INVISIBLE = re.compile("[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")

# Control characters, the separators of lines and paragraphs, and halves of surrogate pairs.
_NOT_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def parse_keyword(given: str) -> str:
    """Returns a keyword as it is shown and counted: with single spaces between words, and no invisible characters.

    Every other character stands for itself; there are no wildcards.

    Raises:
        ValueError: This cannot be a keyword. The message is one line and does not quote it.
    """
    keyword = " ".join(_INVISIBLE.sub("", given).split())
    if not keyword:
        raise ValueError("a keyword must not be empty")
    if len(keyword) > MAX_KEYWORD_CHARS:
        raise ValueError(f"the keyword has {len(keyword)} characters; {MAX_KEYWORD_CHARS} are allowed")
    if _NOT_TEXT.search(keyword):
        raise ValueError("the keyword has a control character or half of a surrogate pair")
    folded = fold(keyword)
    if not folded:
        raise ValueError("the keyword has invisible characters only")
    if kind(folded[0]) in {Kind.MARK, Kind.STACKER, Kind.ENCLOSING}:
        raise ValueError("the keyword begins with a combining mark, which belongs to the character before it")
    if folded == ALL_KEYWORDS:
        raise ValueError(f"'{ALL_KEYWORDS}' stands for all posts and cannot be a keyword")
    return keyword
