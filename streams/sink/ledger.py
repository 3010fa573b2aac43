"""The arithmetic of the sink's ledger: which ranges of offsets were written, and which rows they added. Pure.

A range of posts has figures: the number of rows that it added to `posts`, and a checksum of them. After a crash, the
classify stage delivers some posts again, with raw offsets that it has delivered before. So a post is new if its raw
offset is above the fence: the highest raw offset of all ranges before. The figures follow from the records alone, and
not from the rows that the table happens to have.

Ranges are stored in the order of their offsets, and do not overlap. After the database was restored, the sink writes
rows again that the ledger covers; it then stores only the part of the range that the ledger does not cover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from connectors.errors import PositionMismatchError

RANGE_RECORDS = 5_000
"""Most records of a range: it must be possible to check it, or to write it again, in one short transaction."""


@dataclass(frozen=True)
class Span:
    """A range of offsets of one partition, [start, end), and the number of records in it."""

    partition: int
    start: int
    end: int
    records: int


class Fence(NamedTuple):
    """The highest raw offset that was counted, and its raw topic."""

    topic: str
    offset: int


class Figures(NamedTuple):
    """The figures of a range: what identifies the rows of its new posts.

    Attributes:
        rows: the number of rows.
        checksum: the exclusive or of the hashes of the rows, a signed 64-bit integer.
        first_origin: the lowest raw offset among the rows' origins.
        last_origin: the highest raw offset among the rows' origins.
        first_event: the earliest `created_at` of the rows.
        last_event: the latest `created_at` of the rows.
    """

    rows: int
    checksum: int
    first_origin: int
    last_origin: int
    first_event: datetime
    last_event: datetime

    def plus(self, other: Figures) -> Figures:
        """Returns the figures of both ranges together."""
        return Figures(
            self.rows + other.rows,
            self.checksum ^ other.checksum,
            min(self.first_origin, other.first_origin),
            max(self.last_origin, other.last_origin),
            min(self.first_event, other.first_event),
            max(self.last_event, other.last_event),
        )


@dataclass(frozen=True)
class LedgerRange:
    """A range of the ledger.

    Attributes:
        span: the offsets of the range, and the number of records that were read.
        fence: the fence at the end of the range; None for windows and deletions, and before the first post.
        figures: the figures of the new posts; None if the range has no new post.
    """

    span: Span
    fence: Fence | None = None
    figures: Figures | None = None


def spans_of(records: Iterable[tuple[int, int]], starts: Mapping[int, int]) -> list[Span]:
    """Returns the span of the records of each partition.

    Offsets without a record belong to the span of the record that follows them.

    Args:
        records: The partition and offset of each record, in the order of the offsets within a partition.
        starts: The offset at which each partition continues.
    """
    ends: dict[int, int] = {}
    counts: Counter[int] = Counter()
    for partition, offset in records:
        ends[partition] = offset + 1
        counts[partition] += 1
    return [Span(partition, starts[partition], end, counts[partition]) for partition, end in sorted(ends.items())]


def check_offsets(topic: str, stored: dict[int, int], spans: Sequence[Span]) -> None:
    """Check that each span starts at the stored offset of its partition: the compare of the compare-and-set.

    Raises:
        PositionMismatchError: The stored offset of a partition is another one.
    """
    for span in spans:
        if stored.get(span.partition) != span.start:
            raise PositionMismatchError(
                f"{topic}[{span.partition}] is at offset {stored.get(span.partition)} in PostgreSQL, not at "
                f"{span.start}"
            )


def range_to_store(
    last: LedgerRange | None, span: Span, raw_topic: str | None, figures: Figures | None
) -> LedgerRange | None:
    """Returns the range to store after `span` was written; None if the ledger covers the span already.

    That is `last`, extended by the span, or a new range if `last` is full.

    Args:
        last: The last range of the partition; None if there is none.
        span: The offsets that were written.
        raw_topic: The raw topic of the posts; None for windows and deletions.
        figures: The figures of the posts above the fence of `last`; None if there are none.
    """
    if last is None:
        return LedgerRange(span, _fence(None, raw_topic, figures), figures)
    if span.end <= last.span.end:
        return None
    start = max(span.start, last.span.end)
    fence = _fence(last.fence, raw_topic, figures)
    extends = (
        start == last.span.end
        and last.span.records + span.records <= RANGE_RECORDS
        and (last.figures is None or figures is None or last.fence is None or last.fence.topic == raw_topic)
    )
    if not extends:
        return LedgerRange(replace(span, start=start), fence, figures)
    both = last.figures if figures is None else figures if last.figures is None else last.figures.plus(figures)
    return LedgerRange(replace(last.span, end=span.end, records=last.span.records + span.records), fence, both)


def _fence(before: Fence | None, raw_topic: str | None, figures: Figures | None) -> Fence | None:
    return before if raw_topic is None or figures is None else Fence(raw_topic, figures.last_origin)


def uncovered(start: int, end: int, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Returns the parts of [start, end) that are in none of `ranges`, in order; each range is [first, next)."""
    found = []
    reached = start
    for first, next_offset in sorted(ranges):
        if reached < min(first, end):
            found.append((reached, min(first, end)))
        reached = max(reached, next_offset)
    if reached < end:
        found.append((reached, end))
    return found
