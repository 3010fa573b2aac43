"""Posts of the API -> events, each once. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from connectors.sources.events import SourceEvent, SourcePost, skipped
from connectors.sources.recent import Recent
from connectors.sources.shapes.twitter import v2_event_of
from connectors.sources.shapes.values import identifier, members, named, unreadable
from connectors.sources.x.cursor import number_of, time_of

_REMEMBERED = 50_000


class Posts:
    """Makes events of posts, and remembers the last posts, because X sends some again."""

    def __init__(self, *, tag: str, retweets: bool, shared: Collection[str] = ()) -> None:
        """Begin without a post.

        Args:
            tag: the tag of the rules whose posts are wanted.
            retweets: whether reposts without a text of their own are posts.
            shared: the ids of rules with other tags whose posts are wanted too. It may change.
        """
        self._tag = tag
        self._retweets = retweets
        self._shared = shared
        self._seen: Recent[int, None] = Recent(_REMEMBERED)

    def event_of(
        self, document: Mapping[str, Any], *, since: int, received_at: datetime
    ) -> tuple[SourceEvent, int | None]:
        """Returns the event of a post, and the id of this version of it; None as the id if it is not a post.

        An edited post has a new id, and those of its former versions. If none of these came, the present version counts
        as the post.

        Args:
            document: the parsed JSON of a line of the stream, or the same of a page of the search.
            since: posts up to this id came before, on another connection.
            received_at: when the post was received, aware.
        """
        data = members(document.get("data"))
        number = number_of(identifier(data.get("id")))
        event = v2_event_of(document, received_at=received_at)
        if not isinstance(event, SourcePost):
            return event, None
        if number is None:
            return unreadable("the id of a post is not a number of X"), None
        rules = document.get("matching_rules")
        if isinstance(rules, list) and rules and not any(self._is_ours(members(rule)) for rule in rules):
            return skipped("a post of another rule of the app"), number
        if not self._retweets and "retweeted" in named(data.get("referenced_tweets"), "type"):
            return skipped("a repost"), number
        if number in self._seen:
            return skipped("the post came before"), number
        first = number_of(event.id) or number
        came = first in self._seen or first <= since
        self._seen.set(first, None)
        self._seen.set(number, None)
        if event.edited:
            # The time of an edit is not that of the post.
            event = replace(event, edited=came, created_at=min(event.created_at, time_of(first)))
        return event, number

    def _is_ours(self, rule: Mapping[str, Any]) -> bool:
        return rule.get("tag") == self._tag or identifier(rule.get("id")) in self._shared
