"""Checks that each raw post has exactly one result, and that none was deleted before it had one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from streams.ops.audit.checks import Check
from streams.ops.audit.offset_sets import OffsetSet, pages, runs

EXAMPLES = 5
"""The most examples that a note names."""


@dataclass
class Outcomes:
    """Offsets of raw posts, by partition of the raw topic.

    Attributes:
        produced: the offsets in the raw topic.
        classified: the offsets of the posts in the classified topic.
        dead: the offsets of the posts in the dead-letter topic.
        held_from: the raw offset from which on Kafka holds every result. A partition without such an offset is left
            out.
        unknown: the results whose raw post was never written, in words; the first ones only.
        unknown_results: the number of all of them.
        unreadable: the batches of these topics that cannot be read, in words.
    """

    produced: dict[int, OffsetSet] = field(default_factory=dict)
    classified: dict[int, OffsetSet] = field(default_factory=dict)
    dead: dict[int, OffsetSet] = field(default_factory=dict)
    held_from: dict[int, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    unknown_results: int = 0
    unreadable: list[str] = field(default_factory=list)

    def bits(self, partition: int, page: int) -> tuple[int, int, int]:
        """Returns a page of the produced, the classified and the dead-lettered offsets of a partition."""
        produced, classified, dead = (
            offsets[partition].bits(page) if partition in offsets else 0
            for offsets in (self.produced, self.classified, self.dead)
        )
        return produced, classified, dead


def count_classified(outcomes: Outcomes, raw: Mapping[int, tuple[int, int]]) -> int:
    """Returns the number of posts that were classified, each counted once, up to the end of the raw topic."""
    return sum(
        outcomes.classified[partition].count_below(end)
        for partition, (_, end) in raw.items()
        if partition in outcomes.classified
    )


def check_delivery(outcomes: Outcomes, raw: Mapping[int, tuple[int, int]]) -> list[Check]:
    """Check that each produced post is either classified or dead-lettered, and that no post was deleted unread.

    Posts before the first offset of the raw topic are left out of the first two checks, because Kafka has deleted them
    there. The third check finds those among them that have no result.

    Args:
        outcomes: the offsets of the posts.
        raw: the first and the end offset of each partition of the raw topic.
    """
    lost: list[tuple[int, int, int]] = []  # partition, page and bits
    twice: list[tuple[int, int, int]] = []
    deleted: list[tuple[int, int, int]] = []
    produced = found = unproduced = 0
    for partition, (low, end) in raw.items():
        for page, wanted in pages(low, end):
            was_produced, classified, dead = (bits & wanted for bits in outcomes.bits(partition, page))
            produced += was_produced.bit_count()
            found += classified.bit_count() + dead.bit_count()
            twice.append((partition, page, classified & dead))
            unproduced += ((classified | dead) & ~was_produced).bit_count()
            lost.append((partition, page, was_produced & ~(classified | dead)))
        for page, wanted in pages(outcomes.held_from.get(partition, low), low):
            _, classified, dead = outcomes.bits(partition, page)
            deleted.append((partition, page, wanted & ~(classified | dead)))
    missing, both, unread = (sum(bits.bit_count() for _, _, bits in part) for part in (lost, twice, deleted))
    note = f"{missing} without a result, such as {', '.join(islice(_offsets(lost), EXAMPLES))}" if missing else ""
    unproduced += outcomes.unknown_results
    if unproduced and not missing:
        note = "some results are of posts that were never produced"
    unknown = islice(outcomes.unknown, EXAMPLES)
    note = "; ".join(filter(None, [note, *unknown, *islice(outcomes.unreadable, EXAMPLES)]))
    return [
        Check("produced = classified + dead-lettered", produced, found, not missing and not unproduced, note),
        Check(
            "both classified and dead-lettered",
            0,
            both,
            both == 0,
            f"offsets {', '.join(islice(_ranges(twice), EXAMPLES))}" if both else "",
        ),
        Check(
            "deleted from the raw topic without a result",
            0,
            unread,
            unread == 0,
            f"offsets {', '.join(islice(_ranges(deleted), EXAMPLES))}" if unread else "",
        ),
    ]


def _offsets(found: list[tuple[int, int, int]]) -> Iterator[str]:
    for partition, page, bits in found:
        for first, last in runs(bits, page):
            yield from (f"{partition}@{offset}" for offset in range(first, last + 1))


def _ranges(found: list[tuple[int, int, int]]) -> Iterator[str]:
    """Yield the ranges of consecutive offsets, also those that go on in the next page."""
    pending: tuple[int, int, int] | None = None
    for partition, page, bits in found:
        for first, last in runs(bits, page):
            if pending is not None and (pending[0], pending[2] + 1) == (partition, first):
                pending = (partition, pending[1], last)
                continue
            if pending is not None:
                yield _range(*pending)
            pending = (partition, first, last)
    if pending is not None:
        yield _range(*pending)


def _range(partition: int, first: int, last: int) -> str:
    return f"{partition}@{first}" + (f" to {partition}@{last}" if last > first else "")
