"""Decides which keywords a post of a source has, and whether it is kept. Pure."""

from __future__ import annotations

from collections.abc import Callable

from connectors.sources.events import SourcePost
from streams.ingest.keywords.matcher import Matcher
from streams.records.values import MAX_KEYWORDS


class Selection:
    """Gives posts their keywords, and drops those that have none. For one thread.

    Attributes:
        kept: Posts that were kept so far.
        cut: Posts so far that had more keywords than a post may have.
    """

    def __init__(self, matcher: Callable[[], Matcher], *, keep_unmatched: bool) -> None:
        """Start to select.

        Args:
            matcher: Returns the present matcher; called for each post. `KeywordFollower.matcher` is one.
            keep_unmatched: Whether a post without a keyword is kept, and counted under `*` only.
        """
        self._matcher = matcher
        self._keep_unmatched = keep_unmatched
        self.kept = 0
        self.cut = 0

    def keywords(self) -> tuple[str, ...]:
        """Returns the present keywords of the set; the same object as long as the set is the same.

        Raises:
            ConnectorError: As for `keywords_of`.
        """
        return self._matcher().keywords

    def keywords_of(self, post: SourcePost) -> tuple[str, ...] | None:
        """Returns the keywords of a post, in the order in which they begin in it; None if the post is to be dropped.

        They are the keywords of the set as they were added, never others of the post's hashtags: each keyword has
        windows, and people invent hashtags without end. A post with more than `MAX_KEYWORDS` keeps the first of them.
        If the set is empty, every post is kept.

        Raises:
            ConnectorError: What `matcher` raises, for example because the set is not known yet.
        """
        matcher = self._matcher()
        found = matcher.find(post.text, post.keywords)
        if not found and len(matcher) and not self._keep_unmatched:
            return None
        self.kept += 1
        if len(found) > MAX_KEYWORDS:
            self.cut += 1
        return found[:MAX_KEYWORDS]
