"""What can be missing, and what to say of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from streams.records import DeadReason
from streams.sink.ledger import Figures, LedgerRange, Span


class HoleKind(StrEnum):
    """What is wrong with a range of offsets."""

    SKIPPED = "skipped"  # it is not in the ledger: nobody wrote it
    MISSING = "missing"  # rows that it added are gone
    CHANGED = "changed"  # its rows are there, and do not say what was written


@dataclass(frozen=True)
class Hole:
    """A range of offsets that Postgres does not have as Kafka had it.

    Attributes:
        topic: of the records.
        span: the range. Its `records` are those that the ledger knows of; 0 where it was skipped.
        kind: what is wrong.
        rows: how many rows are missing; None where only Kafka knows.
        first_held: the first offset that Kafka still holds of the partition.
        ledger: the range's row of the ledger; None where it was skipped.
    """

    topic: str
    span: Span
    kind: HoleKind
    rows: int | None
    first_held: int
    ledger: LedgerRange | None = None

    @property
    def expired(self) -> Span | None:
        """The part of it that Kafka no longer holds; None if there is none."""
        if self.first_held <= self.span.start:
            return None
        return Span(self.span.partition, self.span.start, min(self.first_held, self.span.end), 0)

    @property
    def held(self) -> Span | None:
        """The part of it that Kafka holds; None if there is none."""
        start = max(self.span.start, self.first_held)
        return Span(self.span.partition, start, self.span.end, 0) if start < self.span.end else None

    def __str__(self) -> str:
        rows = "" if self.rows is None else f", {self.rows:,} rows"
        where = "" if self.expired is None else ", no longer in Kafka" if self.held is None else ", partly in Kafka"
        return f"{self.topic}[{self.span.partition}] {self.span.start} to {self.span.end - 1}: {self.kind}{rows}{where}"


def compare(wanted: LedgerRange, found: Figures | None) -> tuple[HoleKind, int] | None:
    """What is wrong with the rows of a range, and how many are missing; None if nothing is.

    Args:
        wanted: a range with figures.
        found: what the table has between their bounds; None if it has nothing.
    """
    if wanted.figures is None or found == wanted.figures:
        return None
    rows = 0 if found is None else found.rows
    if rows < wanted.figures.rows:
        return HoleKind.MISSING, wanted.figures.rows - rows
    return None if found is not None and found.checksum == wanted.figures.checksum else (HoleKind.CHANGED, 0)


@dataclass
class Findings:
    """What a check found, and what was done about it.

    Attributes:
        ranges: ranges of the ledger that were compared with the rows.
        rows: rows that were compared.
        holes: what Postgres does not have as Kafka had it.
        windows: windows that were compared with Redis; None where Redis could not be asked.
        windows_missing: those that Postgres lacks, or has without their labels.
        windows_behind: those that Postgres has in an older revision, which the sink has passed.
        rows_filled: rows of posts that were written.
        windows_filled: windows that were written.
        windows_refused: windows that Postgres does not take.
        gaps: ranges that nobody has any more, noted in `sink_gaps` now.
        dead: why each record that could not be filled in is a dead letter now.
    """

    ranges: int = 0
    rows: int = 0
    holes: list[Hole] = field(default_factory=list)
    windows: int | None = 0
    windows_missing: int = 0
    windows_behind: int = 0
    rows_filled: int = 0
    windows_filled: int = 0
    windows_refused: int = 0
    gaps: list[tuple[str, Span]] = field(default_factory=list)
    dead: list[DeadReason] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing was wrong."""
        return not self.holes and self.windows_missing == 0 and self.windows_behind == 0
