"""Makes posts of what a search of a network finds, as `emostream ingest` does. Pure.

A network finds more than the keyword: other forms of a word, a word in the name of the author, or one that is close to
it. So each post is searched again, with the rules of `streams.ingest.keywords`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from connectors.sources.events import SourcePost
from streams.ingest.authors import Authors
from streams.ingest.from_source import TextRules, make_post
from streams.ingest.keywords.folding import fold
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.sources.posts import post_id
from streams.records import Keywords, Post, RecordError
from streams.records.values import MAX_KEYWORDS
from streams.settings import Settings

OtherKeywords = Callable[[], Matcher | None]
"""Returns the matcher of the keywords that all posts of a source are searched for; None if they are not known yet."""


class FoundPost(NamedTuple):
    """A post that has the keyword of a question.

    Attributes:
        post: the post, as it is written to the raw topic.
        hashtags: the hashtags of the post, in which keywords are searched too.
        others: finds the other keywords of the post, if they were not known when it was found; None if it has them.
    """

    post: Post
    hashtags: tuple[str, ...] = ()
    others: OtherKeywords | None = None

    @property
    def memory(self) -> int:
        """About how many bytes this takes."""
        texts = (self.post.text, self.post.id, self.post.url or "", *self.post.keywords, *self.hashtags)
        return 1_000 + sum(60 + 4 * len(text) for text in texts)

    def with_all_keywords(self) -> Post | None:
        """Returns the post with all its keywords; None if the other keywords are still not known."""
        if self.others is None:
            return self.post
        matcher = self.others()
        if matcher is None:
            return None
        found = matcher.find(self.post.text, self.hashtags)
        return msgspec.structs.replace(self.post, keywords=Keywords(merged(self.post.keywords[0], found)))


class PostMaker:
    """Makes posts of what networks find for one keyword."""

    def __init__(self, keyword: str, *, since: datetime | None, rules: TextRules, authors: Authors) -> None:
        """Prepare for a keyword.

        Args:
            keyword: a keyword as `parse_keyword` returns it.
            since: the time of the oldest post that is taken; None for no limit.
            rules: what is done with a text that cannot be stored as it is.
            authors: what is written as the author of a post.
        """
        self._keyword = keyword
        self._asked = Matcher([keyword])
        self._since = since
        self._rules = rules
        self._authors = authors

    @classmethod
    def of(cls, settings: Settings, keyword: str, since: datetime | None) -> PostMaker:
        """Returns a maker that follows the settings."""
        return cls(keyword, since=since, rules=TextRules.of(settings), authors=Authors.of(settings))

    def made(self, event: SourcePost, source: str, others: OtherKeywords) -> FoundPost | str:
        """Returns the post; or why it is not taken: `no_keyword`, `too_old` or `invalid`.

        Args:
            event: what the search found.
            source: the kind of source, with which the id of the post begins.
            others: returns the matcher of the other keywords.
        """
        if self._since is not None and event.created_at < self._since:
            return "too_old"
        if not self._asked.find(event.text, event.keywords):
            return "no_keyword"
        matcher = others()
        found = () if matcher is None else matcher.find(event.text, event.keywords)
        try:
            made = make_post(
                event,
                source,
                self._rules,
                post_id=post_id(source, event.id),
                author=self._authors.written(source, event.author),
                keywords=merged(self._keyword, found),
            )
        except RecordError:
            return "invalid"
        if matcher is not None:
            return FoundPost(made.post)
        return FoundPost(made.post, event.keywords[:MAX_KEYWORDS], others)


def merged(asked: str, found: Iterable[str]) -> tuple[str, ...]:
    """Returns the keywords of a post: the one of the question first, then the others that are in the post.

    If the keyword of the question is among the others in another spelling, the post has this spelling only, because its
    windows are there.
    """
    others = tuple(found)
    folded = fold(asked)
    first = next((keyword for keyword in others if fold(keyword) == folded), asked)
    return tuple(dict.fromkeys((first, *others)))[:MAX_KEYWORDS]
