"""The record of the keywords topic: a keyword that posts are searched for. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streams.records.base import Record
from streams.records.values import MAX_KEYWORD_CHARS
from streams.timestamps import Timestamp


class KeywordRecord(Record, frozen=True):
    """A keyword that posts are searched for (`emostream.keywords`, key = the keyword, compacted).

    A record without a value removes the keyword of its key.
    """

    keyword: Annotated[str, Meta(min_length=1, max_length=MAX_KEYWORD_CHARS)]
    added_at: Timestamp
