"""What a source yields. Pure.

SourceEvent
├── SourcePost       a post, or the present text of a post that was edited
├── SourceDeletion   a post was deleted, or an account with all its posts
├── SourceGap        the network can no longer replay some events
└── SourceSkipped    an event that is not a post, or that cannot be read; it is counted by its reason
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePost:
    """A post of a network.

    Attributes:
        id: the id that the network gives the post. It is the same whenever and however the post is fetched.
        text: the text as people see it: no markup, and no character references.
        created_at: when the post was created. Aware, and never later than it was received.
        author: the account, as the network identifies it; None if the network does not tell.
        lang: the language that the network or the author states (BCP 47); None if there is none.
        url: where people read the post.
        keywords: the hashtags of the post, without `#`.
        edited: whether this is a later version of a post that was sent before.
        cleaned: whether U+FFFD was put into it for characters that cannot be stored.
    """

    id: str
    text: str
    created_at: datetime
    author: str | None = None
    lang: str | None = None
    url: str | None = None
    keywords: tuple[str, ...] = ()
    edited: bool = False
    cleaned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDeletion:
    """A deletion that the network announces: of one post (`id`), or of an account and all its posts (`author`)."""

    id: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGap:
    """Events that the network cannot replay any more. They are lost.

    Attributes:
        since: the time of the last event before the gap; None if it is not known.
        until: the time of the first event after the gap; None if it is not known.
        reason: one line for the operator.
        missing: how many posts are missing; None if the network does not tell.
        partial: whether only a part of the source has the gap, such as one of its listings. Events of the other parts
            may then lie between `since` and `until`.
    """

    since: datetime | None
    until: datetime | None
    reason: str
    missing: int | None = None
    partial: bool = False


class SkipReason(StrEnum):
    """Why an event is not a post."""

    NOT_A_POST = "not_a_post"
    """Another kind of event, as expected: an account's status, a like, a keep-alive."""

    REMOVED = "removed"
    """A placeholder for a post that its author or a moderator has removed."""

    EMPTY_TEXT = "empty_text"
    UNREADABLE = "unreadable"
    """The event is not what the network documents."""

    TOO_LARGE = "too_large"

    FORBIDDEN = "forbidden"
    """A part of the source that the network refuses, such as a subreddit. The other parts go on."""

    BAD_SIGNATURE = "bad_signature"
    """A request to a webhook that is not signed as it must be."""

    BUSY = "busy"
    """A request to a webhook that was refused for now. Its sender sends it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSkipped:
    """An event that is not a post. `detail` is one line without the event's content."""

    reason: SkipReason
    detail: str = ""


def skipped(detail: str, reason: SkipReason = SkipReason.NOT_A_POST) -> SourceSkipped:
    """Returns an event that is not a post."""
    return SourceSkipped(reason=reason, detail=detail)


SourceEvent: TypeAlias = SourcePost | SourceDeletion | SourceGap | SourceSkipped


@dataclass(frozen=True, slots=True)
class Positioned:
    """An event, and the cursor from which the source continues after it.

    Attributes:
        event: the event.
        cursor: given to `Source.stream` later, it makes the source continue after this event. The source may then
            repeat events from before it, and never skips one. None if the network has no cursor.
        at: the time of the event on the network's clock; None if the network does not tell.
    """

    event: SourceEvent
    cursor: str | None
    at: datetime | None = None
