"""Checks a system's results: each post once, with the label that the bare loop gives. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MIN_AGREEMENT = 0.999
"""Share of labels that must match the bare loop's. With fewer matches, the system has not done the same work."""


@dataclass(frozen=True, slots=True)
class Result:
    """A record of the output topic.

    Attributes:
        at: When it was appended, in seconds since 1970.
        id: The post's id.
        label: The system's answer.
    """

    at: float
    id: str
    label: str


@dataclass(frozen=True)
class Check:
    """The outcome of a check.

    Attributes:
        lost: Posts without a result.
        duplicated: Results of a post beyond its first one.
        unknown: Results of posts that were not sent.
        agreement: Of the posts with a result, the share whose label matches the bare loop's. None if labels are not
            compared.
    """

    lost: int
    duplicated: int
    unknown: int
    agreement: float | None

    @property
    def exactly_once(self) -> bool:
        """Whether each post has exactly one result, and there are no others."""
        return not (self.lost or self.duplicated or self.unknown)

    def faults(self) -> list[str]:
        """Returns what is wrong, one phrase for each fault; empty if nothing is."""
        found = []
        if not self.exactly_once:
            found.append(f"{self.lost} lost, {self.duplicated} duplicated, {self.unknown} unknown")
        if self.agreement is not None and self.agreement < MIN_AGREEMENT:
            found.append(f"{100 * self.agreement:.3f} % of the labels match the bare loop's")
        return found


def check(results: Sequence[Result], sent: Collection[str], labels: Mapping[str, str] | None) -> Check:
    """Compare results with the posts that were sent.

    Args:
        results: All results of the run.
        sent: Ids of the posts.
        labels: The bare loop's label by post id; None to compare no labels.
    """
    wanted = set(sent)
    counts = Counter(result.id for result in results)
    found = counts.keys() & wanted
    agreement = None
    if labels is not None:
        first: dict[str, str] = {}
        for result in results:
            first.setdefault(result.id, result.label)
        agreement = sum(first[name] == labels.get(name) for name in found) / max(1, len(found))
    return Check(
        lost=len(wanted - found),
        duplicated=sum(counts[name] - 1 for name in found),
        unknown=sum(count for name, count in counts.items() if name not in wanted),
        agreement=agreement,
    )
