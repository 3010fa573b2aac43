"""Tweets as the API of X had and has them -> posts and deletions. Pure.

v1   the Tweet object of API 1.1, in archives of the streaming API, `twarc` 1 and most data sets
v2   the Tweet object of API 2: a line of a stream (`data` and `includes`), or a flattened tweet as `twarc2 flatten`
     writes it

An author is the numeric id of the account, because handles change hands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from connectors.sources.events import SkipReason, SourceDeletion, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.markup import unescaped
from connectors.sources.shapes.values import earliest, hashtags, identifier, members, named, string, unreadable

_NO_LANGUAGE: Final = frozenset({"und", "zxx", "art", "qam", "qct", "qht", "qme", "qst"})
"""Codes with which X says that a tweet has no language: undetermined, media only, hashtags only and so on."""

_NOTICES: Final = frozenset({"limit", "scrub_geo", "status_withheld", "user_withheld", "disconnect", "warning"})
"""Messages of the streaming API 1.1 that are not tweets."""


def v1_event_of(tweet: Mapping[str, Any], *, received_at: datetime | None = None) -> SourceEvent:
    """Returns the post of a tweet of API 1.1, or the deletion of a delete notice; `SourceSkipped` if it is neither.

    The text of a retweet is the complete one, after `RT @name: `.

    Args:
        tweet: the parsed JSON.
        received_at: when the tweet was received, aware; None if it is not known, as in a file.
    """
    if deleted := members(members(tweet.get("delete")).get("status")):
        return _deletion(deleted)
    if not _NOTICES.isdisjoint(tweet) and "text" not in tweet:
        return SourceSkipped(reason=SkipReason.NOT_A_POST, detail="a notice of the stream")
    user, text = members(tweet.get("user")), _v1_text(tweet)
    if text is not None and (original := members(tweet.get("retweeted_status"))):
        text = _retweet(text, _v1_text(original))
    return _post(
        identifier(tweet.get("id_str")) or identifier(tweet.get("id")),
        text,
        earliest(tweet.get("created_at"), (received_at,)),
        author=identifier(user.get("id_str")) or identifier(user.get("id")) or string(user.get("screen_name")),
        lang=tweet.get("lang"),
        tags=named(members(_v1_full(tweet).get("entities")).get("hashtags"), "text"),
    )


def v2_event_of(tweet: Mapping[str, Any], *, received_at: datetime | None = None) -> SourceEvent:
    """Returns the post of a tweet of API 2; `SourceSkipped` if the record is not a post.

    All versions of an edited tweet have the id of the first one. Long tweets are complete, and so are retweets if the
    answer includes the original.

    Args:
        tweet: the parsed JSON: a tweet, or an answer with one tweet as `data`.
        received_at: when the tweet was received, aware; None if it is not known, as in a file.
    """
    data = tweet.get("data", tweet)
    if isinstance(data, list):
        return unreadable("the record is a page of tweets; flatten it first, as twarc2 flatten does")
    if not isinstance(data, Mapping):
        return unreadable("the record has no tweet")
    includes = members(tweet.get("includes"))
    text = _v2_text(data)
    if text is not None:
        for reference in _objects(data.get("referenced_tweets")):
            if reference.get("type") == "retweeted":
                original = _included(includes, identifier(reference.get("id"))) or reference
                text = _retweet(text, _v2_text(original))
    versions = data.get("edit_history_tweet_ids")
    history = [found for item in versions if (found := identifier(item))] if isinstance(versions, list) else []
    return _post(
        history[0] if history else identifier(data.get("id")),
        text,
        earliest(data.get("created_at"), (received_at,)),
        author=identifier(data.get("author_id")) or identifier(members(data.get("author")).get("id")),
        lang=data.get("lang"),
        tags=named(members(data.get("entities")).get("hashtags"), "tag"),
        edited=len(history) > 1,
    )


def _post(
    post_id: str | None,
    text: str | None,
    created_at: datetime | None,
    *,
    author: str | None,
    lang: object,
    tags: list[object],
    edited: bool = False,
) -> SourceEvent:
    if post_id is None or text is None or created_at is None:
        return unreadable("the tweet has no id, no text or no time")
    text = unescaped(text)
    if not text.strip():
        return SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the tweet has no text")
    language = string(lang)
    return SourcePost(
        id=post_id,
        text=text,
        created_at=created_at,
        author=author,
        lang=None if language in _NO_LANGUAGE else language,
        url=f"https://x.com/i/status/{post_id}",
        keywords=hashtags(tags),
        edited=edited,
    )


def _deletion(status: Mapping[str, Any]) -> SourceEvent:
    post_id = identifier(status.get("id_str")) or identifier(status.get("id"))
    return SourceDeletion(id=post_id) if post_id is not None else unreadable("the deletion has no id")


def _v1_full(tweet: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the part of a tweet that has the complete text and its entities."""
    return members(tweet.get("extended_tweet")) or tweet


def _v1_text(tweet: Mapping[str, Any]) -> str | None:
    text = _v1_full(tweet).get("full_text", tweet.get("text"))
    return text if isinstance(text, str) else None


def _v2_text(tweet: Mapping[str, Any]) -> str | None:
    text = members(tweet.get("note_tweet")).get("text", tweet.get("text"))
    return text if isinstance(text, str) else None


def _retweet(text: str, original: str | None) -> str:
    """Returns the text of a retweet with the complete text of the original, which is cut off in the retweet."""
    start, colon, _ = text.partition(": ")
    return f"{start}: {original}" if original is not None and colon and start.startswith("RT @") else text


def _objects(items: object) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _included(includes: Mapping[str, Any], tweet_id: str | None) -> Mapping[str, Any]:
    found = (item for item in _objects(includes.get("tweets")) if identifier(item.get("id")) == tweet_id)
    return next(found, {}) if tweet_id is not None else {}
