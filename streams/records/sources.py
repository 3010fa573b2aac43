"""The records of the topics of sources: the position of a source, and its gaps. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from streams.records.base import Record
from streams.records.values import Offset
from streams.timestamps import Timestamp

Offsets = dict[str, Offset]
"""Offsets of the raw topic by partition, written as text because the names in a JSON object are text."""


class SourcePosition(Record, frozen=True, kw_only=True):
    """Where an instance of a source continues (the sources topic, key = instance).

    Every post from before `cursor` is in the raw topic, below `offsets`. A process that continues from `cursor` reads
    the raw topic from `reread` on, which is a minute further back, and so knows which posts are there already.

    `cursor` is null if the network has none. `at` is the time of the last event on the network's clock, and `gaps` the
    number of gaps that were recorded so far.
    """

    instance: Annotated[str, Meta(min_length=1, max_length=100)]
    source: Annotated[str, Meta(min_length=1, max_length=100)]
    cursor: Annotated[str, Meta(max_length=1_000_000)] | None
    at: Timestamp | None = None
    raw_topic: str
    offsets: Offsets
    reread: Offsets
    gaps: Annotated[int, Meta(ge=0)] = 0
    saved_at: Timestamp


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
    missing: Annotated[int, Meta(ge=0)] | None = None
    reason: str
    found_at: Timestamp
