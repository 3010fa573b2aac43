"""The arithmetic of the sink's ledger: which ranges of offsets were written, and with what. Pure.

A range of posts has figures: how many rows, and a checksum of them. They are of the posts that the range delivers
first. Classify delivers some posts again after a crash, always with raw offsets that were seen before; so a post is
new if its raw offset lies above the fence, the highest of all ranges before. The figures follow from the records alone
and not from what the table holds by chance.

Ranges are noted in the order of their offsets and never noted twice. A sink that goes back, because the database was
restored, writes rows again that the ledger knows; it notes only what lies beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from connectors.errors import PositionMismatchError

RANGE_RECORDS = 5_000
"""A range grows up to these many records: one is checked, or written again, in one short transaction."""


@dataclass(frozen=True)
class Span:
    """A range of offsets of one partition, [start, end), and how many records it held."""

    partition: int
    start: int
    end: int
    records: int


class Fence(NamedTuple):
    """The highest raw offset that was written, and of which raw topic."""

    topic: str
    offset: int


class Figures(NamedTuple):
    """What the new posts of a range must be in the table.

    Attributes:
        rows: how many.
        checksum: the hash of each row, combined by exclusive or; a signed 64-bit integer.
        first_origin: lowest raw offset among them.
        last_origin: highest raw offset among them.
        first_event: earliest `created_at` among them.
        last_event: latest `created_at` among them.
    """

    rows: int
    checksum: int
    first_origin: int
    last_origin: int
    first_event: datetime
    last_event: datetime

    def plus(self, other: Figures) -> Figures:
        """Those of two ranges together."""
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
        span: the offsets, and how many records were read there.
        fence: at the end of the range; None before the first post, and for windows.
        figures: of the new posts; None if there are none.
    """

    span: Span
    fence: Fence | None = None
    figures: Figures | None = None


def spans_of(records: Iterable[tuple[int, int]], starts: Mapping[int, int]) -> list[Span]:
    """The spans of these records, by partition. Holes in the offsets belong to the span of the record after them.

    Args:
        records: partition and offset of each, in order of the offsets within a partition.
        starts: for each partition, where it continues.
    """
    ends: dict[int, int] = {}
    counts: Counter[int] = Counter()
    for partition, offset in records:
        ends[partition] = offset + 1
        counts[partition] += 1
    return [Span(partition, starts[partition], end, counts[partition]) for partition, end in sorted(ends.items())]


def check_offsets(topic: str, stored: dict[int, int], spans: Sequence[Span]) -> None:
    """The compare of the compare-and-set.

    Raises:
        PositionMismatchError: a partition stands elsewhere.
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
    """The range to store after `span` was written: `last` grown by it, or a new one; None if `last` covers it all.

    Args:
        last: the partition's last range; None if there is none.
        span: what was written.
        raw_topic: where its posts come from; None for windows.
        figures: of those above the fence of `last`; None if there are none.
    """
    if last is None:
        return LedgerRange(span, _fence(None, raw_topic, figures), figures)
    if span.end <= last.span.end:
        return None
    start = max(span.start, last.span.end)
    fence = _fence(last.fence, raw_topic, figures)
    grows = (
        start == last.span.end
        and last.span.records + span.records <= RANGE_RECORDS
        and (last.figures is None or figures is None or last.fence is None or last.fence.topic == raw_topic)
    )
    if not grows:
        return LedgerRange(replace(span, start=start), fence, figures)
    both = last.figures if figures is None else figures if last.figures is None else last.figures.plus(figures)
    return LedgerRange(replace(last.span, end=span.end, records=last.span.records + span.records), fence, both)


def _fence(before: Fence | None, raw_topic: str | None, figures: Figures | None) -> Fence | None:
    return before if raw_topic is None or figures is None else Fence(raw_topic, figures.last_origin)


def uncovered(start: int, end: int, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of [start, end) lies in none of the `ranges`, in order; each range is [first, next) and they may overlap."""
    found = []
    reached = start
    for first, following in sorted(ranges):
        if reached < min(first, end):
            found.append((reached, min(first, end)))
        reached = max(reached, following)
    if reached < end:
        found.append((reached, end))
    return found
