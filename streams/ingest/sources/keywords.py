"""Which keywords a post of a source has, and whether it is kept. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from connectors.sources.events import SourcePost
from streams.records.values import ALL_KEYWORDS, MAX_KEYWORD_CHARS, MAX_KEYWORDS


class KeywordSelection(Protocol):
    """Decides about posts."""

    def keywords_of(self, post: SourcePost, /) -> tuple[str, ...] | None:
        """Returns the keywords of a post; None if it has none that is wanted, and is to be dropped."""
        ...


class Hashtags:
    """Keeps every post. Its keywords are its hashtags."""

    def keywords_of(self, post: SourcePost, /) -> tuple[str, ...]:
        """Returns the hashtags that can be keywords, at most `MAX_KEYWORDS`."""
        usable = (tag for tag in post.keywords if len(tag) <= MAX_KEYWORD_CHARS and tag != ALL_KEYWORDS)
        return tuple(usable)[:MAX_KEYWORDS]


class FixedKeywords:
    """Keeps the posts that contain one of some words, or have it as a hashtag. Case does not matter."""

    def __init__(self, keywords: Iterable[str]) -> None:
        """Prepare to search. `keywords` are words or phrases, and at least one."""
        self._keywords = {word.casefold(): word for word in keywords}
        longest_first = sorted(self._keywords, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def keywords_of(self, post: SourcePost, /) -> tuple[str, ...] | None:
        """Returns the keywords that stand in the text as whole words, or are hashtags; None if there are none."""
        found = dict.fromkeys(self._pattern.findall(post.text.casefold()))
        found |= dict.fromkeys(tag for tag in map(str.casefold, post.keywords) if tag in self._keywords)
        return tuple(self._keywords[word] for word in found)[:MAX_KEYWORDS] or None
