"""Holes, and the findings of a backfill. Pure.

A hole is a range of offsets that the sink has passed, but whose rows Postgres lacks or has with other values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from streams.records import DeadReason
from streams.sink.ledger import Figures, LedgerRange, Span
from streams.wording import counted


class HoleKind(StrEnum):
    """Why a range is a hole."""

    SKIPPED = "skipped"  # the ledger does not cover the range: it was never written
    MISSING = "missing"  # rows that the range added are missing
    CHANGED = "changed"  # no row is missing, but the rows have other values than those that were written


@dataclass(frozen=True)
class Hole:
    """A hole in the rows of a topic.

    Attributes:
        topic: the topic.
        span: the range. The number of records is that of the ledger; 0 if the range was skipped.
        kind: why the range is a hole.
        rows: the number of rows that are missing; None if the range was skipped, since only Kafka can tell.
        first_held: the first offset of the partition that Kafka still holds.
        ledger: the range of the ledger; None if the range was skipped.
    """

    topic: str
    span: Span
    kind: HoleKind
    rows: int | None
    first_held: int
    ledger: LedgerRange | None = None

    @property
    def expired(self) -> Span | None:
        """The part of the range that Kafka no longer holds; None if it holds all of it."""
        if self.first_held <= self.span.start:
            return None
        return Span(self.span.partition, self.span.start, min(self.first_held, self.span.end), 0)

    @property
    def held(self) -> Span | None:
        """The part of the range that Kafka holds; None if it holds none of it."""
        start = max(self.span.start, self.first_held)
        return Span(self.span.partition, start, self.span.end, 0) if start < self.span.end else None

    def __str__(self) -> str:
        rows = f", {counted(self.rows, 'row')}" if self.rows else ""
        where = "" if self.expired is None else ", no longer in Kafka" if self.held is None else ", partly in Kafka"
        return f"{self.topic}[{self.span.partition}] {self.span.start} to {self.span.end - 1}: {self.kind}{rows}{where}"


def compare(wanted: LedgerRange, found: Figures | None) -> tuple[HoleKind, int] | None:
    """Compare the figures of a range with those of its rows.

    Args:
        wanted: The range of the ledger.
        found: The figures of the rows between the bounds of the range; None if there are no rows.

    Returns:
        Why the range is a hole, and the number of missing rows; None if there is no hole.
    """
    if wanted.figures is None or found == wanted.figures:
        return None
    rows = 0 if found is None else found.rows
    if rows < wanted.figures.rows:
        return HoleKind.MISSING, wanted.figures.rows - rows
    return None if found is not None and found.checksum == wanted.figures.checksum else (HoleKind.CHANGED, 0)


@dataclass
class Findings:
    """What a backfill has compared, found and written so far.

    Attributes:
        ranges: the number of ranges of the ledger that were compared with their rows.
        rows: the number of rows in these ranges.
        holes: the holes that were found.
        windows: the number of windows in Redis that were compared with Postgres.
        windows_missing: the number of windows that Postgres lacks, or that lack labels or sentiments there.
        windows_outdated: the number of windows that Postgres has in a revision that is too old.
        rows_filled: the number of rows of posts that were written.
        windows_filled: the number of windows that were written.
        windows_rejected: the number of windows that Postgres rejected.
        gaps: the topic and range of each gap that was recorded in `sink_gaps`.
        dead: the reason of each dead letter that was written.
    """

    ranges: int = 0
    rows: int = 0
    holes: list[Hole] = field(default_factory=list)
    windows: int = 0
    windows_missing: int = 0
    windows_outdated: int = 0
    rows_filled: int = 0
    windows_filled: int = 0
    windows_rejected: int = 0
    gaps: list[tuple[str, Span]] = field(default_factory=list)
    dead: list[DeadReason] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether Postgres lacks nothing: no hole was found, and no window is missing or outdated."""
        return not self.holes and self.windows_missing == 0 and self.windows_outdated == 0
