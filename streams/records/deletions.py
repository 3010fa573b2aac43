"""The record of the deletions topic: a post or an account that was deleted. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from streams.records.base import Record
from streams.records.values import MAX_ID_CHARS, MAX_SOURCE_CHARS, NO_NUL
from streams.timestamps import Timestamp


class DeletionReason(StrEnum):
    """Who asked for a deletion."""

    NETWORK = "network"
    OPERATOR = "operator"


class DeletionRecord(Record, frozen=True, kw_only=True):
    """A deleted post, or a deleted account with all its posts (`posts.deletions`, key = id or author).

    Exactly one of `id` and `author` is set. Both are as posts have them: `id` begins with the source, and `author` may
    be a hash. An author belongs to a `source`; the `source` of an id may be null. `at` is when it was deleted: posts
    that the account created later stay.
    """

    source: Annotated[str, Meta(min_length=1, max_length=MAX_SOURCE_CHARS, extra_json_schema=NO_NUL)] | None = None
    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS, extra_json_schema=NO_NUL)] | None = None
    author: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS, extra_json_schema=NO_NUL)] | None = None
    at: Timestamp
    reason: DeletionReason

    def __post_init__(self) -> None:
        """Refuse a record that does not say what was deleted, and U+0000, which PostgreSQL cannot store.

        Raises:
            ValueError: Not exactly one of `id` and `author` is set, an author has no source, or a field holds U+0000.
        """
        if (self.id is None) == (self.author is None):
            raise ValueError("names neither a post nor an account, or both")
        if self.author is not None and self.source is None:
            raise ValueError("source: is missing; an author belongs to a source")
        if "\0" in f"{self.source or ''}{self.id or ''}{self.author or ''}":
            raise ValueError("holds a NUL character (U+0000)")

    @property
    def key(self) -> bytes:
        """The record's Kafka key."""
        return (self.id or self.author or "").encode()
