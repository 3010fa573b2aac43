"""The records of the topics of sources: the position of a source, and its gaps. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from streams.records.base import Record
from streams.records.values import Offset
from streams.timestamps import Timestamp

Offsets = dict[str, Offset]
"""Offsets of the raw topic by partition, written as text because the names in a JSON object are text."""

Count = Annotated[int, Meta(ge=0)]
Quantity = Annotated[float, Meta(ge=0.0)]

MAX_FAILURE_CHARS = 500
"""The longest reason for which a source has failed."""


class SourceReport(Record, frozen=True, kw_only=True):
    """What an instance of a source has counted, and how it was doing when its position was stored.

    The totals count since the time `since`, and go on after a restart, also on another host. Events that the network
    then repeats count again, but not in `posts`, which has each post that was sent once. `kept` posts passed the
    selection by keywords, and `cut` of them had more keywords than a post may have. `refused` has the events that
    became no post by reason; `no_keyword` are the posts that the selection has dropped.

    `heard_at` is when the last event came, keep-alives included, and `lag_s` by how many seconds the network's time of
    the last event was behind when it was confirmed. Each is null if the process has had no such event. The rate
    `posts_per_second` is that of the last minute, and `host` the machine of the process.

    `failure` is the error, on one line, for which the source has ended for good. It is null as soon as the source has
    an event again, or ends without an error.
    """

    host: str
    since: Timestamp
    heard_at: Timestamp | None = None
    lag_s: Quantity | None = None
    posts_per_second: Quantity = 0.0
    posts: Count = 0
    kept: Count = 0
    cut: Count = 0
    duplicates: Count = 0
    deletions: Count = 0
    reconnects: Count = 0
    gap_seconds: Quantity = 0.0
    refused: dict[str, Count] = field(default_factory=dict)
    repaired: dict[str, Count] = field(default_factory=dict)
    failure: Annotated[str, Meta(max_length=MAX_FAILURE_CHARS)] | None = None


class SourcePosition(Record, frozen=True, kw_only=True):
    """Where an instance of a source continues (the sources topic, key = instance).

    Every post from before `cursor` is in the raw topic, below `offsets`. A process that continues from `cursor` reads
    the raw topic from `reread` on, which is a minute further back, and so knows which posts are there already.

    `cursor` is null if the network has none. `at` is the time of the last event on the network's clock, and `gaps` the
    number of gaps that were recorded so far. `report` is for people; it is null in records of before it was added.
    """

    instance: Annotated[str, Meta(min_length=1, max_length=100)]
    source: Annotated[str, Meta(min_length=1, max_length=100)]
    cursor: Annotated[str, Meta(max_length=1_000_000)] | None
    at: Timestamp | None = None
    raw_topic: str
    offsets: Offsets
    reread: Offsets
    gaps: Count = 0
    saved_at: Timestamp
    report: SourceReport | None = None

    @property
    def begun(self) -> bool:
        """Whether a process can continue from it. If not, the instance was started, and no event has come."""
        return self.cursor is not None or self.at is not None


class GapRecord(Record, frozen=True, kw_only=True):
    """Events that a network could not replay (the gaps topic, key = instance).

    `number` counts the gaps of the instance from 1. `since` is the time of the last event before the gap, and `until`
    that of the first one after it; null if it is not known. `missing` is the number of posts that are lost, if the
    network tells it.
    """

    instance: str
    source: str
    number: Annotated[int, Meta(ge=1)]
    since: Timestamp | None = None
    until: Timestamp | None = None
    missing: Count | None = None
    reason: str
    found_at: Timestamp
