"""Whether a system did its work: every post once, with the label that the bare loop gives. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

LEAST_AGREEMENT = 0.999
"""With a smaller share of the right labels, a system has not done the same work."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result as it lies on the output topic.

    Attributes:
        at: when it was appended, in seconds since 1970.
        id: the post's.
        label: what the system says.
    """

    at: float
    id: str
    label: str


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        lost: posts without a result.
        duplicated: results beyond the first of a post.
        unknown: results of posts that were not sent.
        agreement: share of the posts with a result whose label is the bare loop's; None where labels are not compared.
    """

    lost: int
    duplicated: int
    unknown: int
    agreement: float | None

    @property
    def exactly_once(self) -> bool:
        """Every post once and nothing else."""
        return not (self.lost or self.duplicated or self.unknown)

    def faults(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if not self.exactly_once:
            found.append(f"{self.lost} lost, {self.duplicated} twice, {self.unknown} unknown")
        if self.agreement is not None and self.agreement < LEAST_AGREEMENT:
            found.append(f"{100 * self.agreement:.3f} % of the labels are right")
        return found


def check(results: Sequence[Result], sent: Collection[str], labels: Mapping[str, str] | None) -> Check:
    """Hold results against what was sent.

    Args:
        results: all of them.
        sent: ids of the posts.
        labels: what the bare loop says, by id; None to compare no labels.
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
