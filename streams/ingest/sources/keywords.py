"""Which keywords a post of a source has, and whether it is kept: by fixed keywords, or by the live set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from connectors.sources.events import SourcePost
from streams.ingest.keywords.given import given_keywords
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.keywords.selection import Selection


class KeywordSelection(Protocol):
    """Decides about posts. `Selection` is one, which explains its counts."""

    kept: int
    cut: int

    def keywords(self) -> Sequence[str]:
        """Returns the present keywords; none if every post is wanted."""
        ...

    def keywords_of(self, post: SourcePost, /) -> tuple[str, ...] | None:
        """Returns the keywords of a post; None if it has none that is wanted, and is to be dropped."""
        ...


def fixed_keywords(keywords: Sequence[str]) -> Selection:
    """Returns a selection by keywords that stay the same. It drops the posts that have none of them.

    Raises:
        InputError: One of them cannot be a keyword.
    """
    matcher = Matcher(given_keywords(keywords, None))
    return Selection(lambda: matcher, keep_unmatched=False)
