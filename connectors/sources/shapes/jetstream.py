"""Events of Bluesky's Jetstream -> posts and deletions. Pure.

The format is documented in the README of github.com/bluesky-social/jetstream. A post's id is its `at://` URI, and its
author the DID. Its text has no markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from connectors.sources.events import SkipReason, SourceDeletion, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.values import earliest, from_microseconds, hashtags, members, string, unreadable

POSTS: Final = "app.bsky.feed.post"
"""The collection of posts."""

_TAG: Final = "app.bsky.richtext.facet#tag"
_ERASED: Final = frozenset({"deleted", "takendown"})
"""States of an account in which its posts may not be shown any more, in general for ever."""

_OTHER_COLLECTION: Final = SourceSkipped(reason=SkipReason.NOT_A_POST, detail="a record of another collection")
_OTHER_KIND: Final = SourceSkipped(reason=SkipReason.NOT_A_POST, detail="an event of another kind")
_NO_TEXT: Final = SourceSkipped(reason=SkipReason.EMPTY_TEXT, detail="the post has no text")


def event_of(event: Mapping[str, Any], *, received_at: datetime | None = None) -> SourceEvent:
    """Returns the post or the deletion of a Jetstream event; `SourceSkipped` if it is neither.

    The time of a post is the earliest of its `createdAt`, the event's `time_us` and `received_at`, because clients
    write what they want as `createdAt`. A deleted account, and one that was taken down, is a deletion of all its posts.

    Args:
        event: the parsed JSON of the event.
        received_at: when the event was received, aware; None if it is not known, as in a file.
    """
    kind, did = event.get("kind"), event.get("did")
    if not isinstance(kind, str):
        return unreadable("the event has no kind")
    if not isinstance(did, str) or not did.startswith("did:"):
        return unreadable("the event has no did")
    if kind == "commit":
        return _commit(did, members(event.get("commit")), (from_microseconds(event.get("time_us")), received_at))
    if kind == "account" and string(members(event.get("account")).get("status")) in _ERASED:
        return SourceDeletion(author=did)
    return _OTHER_KIND


def post_uri(did: str, rkey: str) -> str:
    """Returns the id of a post: its `at://` URI."""
    return f"at://{did}/{POSTS}/{rkey}"


def post_of(
    did: str,
    rkey: str,
    record: Mapping[str, Any],
    received: tuple[datetime | None, ...] = (),
    *,
    edited: bool = False,
) -> SourceEvent:
    """Returns the post of a record of `app.bsky.feed.post`; `SourceSkipped` if it has no text or no time.

    Args:
        did: the author.
        rkey: the key of the record.
        record: the record, as Jetstream and `app.bsky.feed.searchPosts` have it.
        received: when the post was received, as far as that is known.
        edited: whether this is a later version.
    """
    text = record.get("text")
    if not isinstance(text, str):
        return unreadable("the record has no text")
    if not text or text.isspace():
        return _NO_TEXT
    created_at = earliest(record.get("createdAt"), received)
    if created_at is None:
        return unreadable("the post has no time")
    return SourcePost(
        id=post_uri(did, rkey),
        text=text,
        created_at=created_at,
        author=did,
        lang=_language(record.get("langs")),
        url=f"https://bsky.app/profile/{did}/post/{rkey}",
        keywords=_hashtags(record),
        edited=edited,
    )


def _commit(did: str, commit: Mapping[str, Any], received: tuple[datetime | None, ...]) -> SourceEvent:
    collection, rkey, record = commit.get("collection"), commit.get("rkey"), commit.get("record")
    if not isinstance(collection, str) or not isinstance(rkey, str) or not rkey:
        return unreadable("the commit has no collection or no rkey")
    if collection != POSTS:
        return _OTHER_COLLECTION
    match commit.get("operation"):
        case "delete":
            return SourceDeletion(id=post_uri(did, rkey))
        case "create" | "update" as operation if isinstance(record, (dict, Mapping)):
            return post_of(did, rkey, record, received, edited=operation == "update")
        case _:
            return unreadable("the commit has no record, or an unknown operation")


def _language(languages: object) -> str | None:
    """Returns the language of a post. Apps write several if the author has several; then the post's is not known."""
    return string(languages[0]) if isinstance(languages, list) and len(languages) == 1 else None


def _hashtags(record: Mapping[str, Any]) -> tuple[str, ...]:
    facets, tags = record.get("facets"), record.get("tags")
    if not facets and not tags:
        return ()
    found: list[object] = []
    for facet in facets if isinstance(facets, list) else ():
        features = members(facet).get("features")
        for feature in features if isinstance(features, list) else ():
            if (feature := members(feature)).get("$type") == _TAG:
                found.append(feature.get("tag"))
    return hashtags(found + (tags if isinstance(tags, list) else []))
