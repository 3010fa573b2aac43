"""The numbers of a chart: shares of labels, what they are of, and which labels are drawn as one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from streams.charts.palette import REST, label_order
from streams.charts.text import drawable

MAX_LABELS: Final = 10
"""The most labels that are drawn. If there are more, those with fewest posts are drawn as one, `REST`."""


@dataclass(frozen=True)
class Share:
    """A label's share of a keyword's posts: in percent, and the number of posts."""

    label: str
    pct: float
    count: int


@dataclass(frozen=True)
class Facts:
    """What the shares of a chart are of.

    Attributes:
        keyword: the keyword, any text.
        posts: posts that have a label.
        since: beginning of the time that was asked for, with a time zone; None if it was not limited.
        as_of: when the numbers were right, with a time zone; None if that is not known.
    """

    keyword: str
    posts: int
    since: datetime | None = None
    as_of: datetime | None = None

    @property
    def subtitle(self) -> str:
        """The facts in one line, without the keyword."""
        return ", ".join(part for part in (_posts(self.posts), self.time) if part)

    @property
    def time(self) -> str:
        """The time in words; an empty string if nothing is known about it."""
        parts = []
        if self.since is not None:
            parts.append(f"since {_time(self.since)}")
        if self.as_of is not None:
            parts.append(f"as of {_time(self.as_of)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Grouped:
    """Shares that fit into a chart.

    Attributes:
        rows: for each keyword its shares by label, with `REST` for the labels in `rest`.
        labels: all labels of the rows, in the order in which they are drawn.
        rest: the labels that are drawn as one, most posts first.
    """

    rows: tuple[dict[str, Share], ...]
    labels: tuple[str, ...]
    rest: tuple[str, ...]


def grouped(rows: Sequence[Sequence[Share]], most: int = MAX_LABELS) -> Grouped:
    """Returns the shares of one or several keywords with at most `most` labels. Those with fewest posts become `REST`.

    The numbers of a label that is there twice are added. If a row has no numbers above 0, it has no shares.

    Raises:
        ValueError: a number is negative or not finite.
    """
    sums = [_summed(row) for row in rows]
    totals: dict[str, tuple[int, float]] = {}
    for row in sums:
        for share in row.values():
            count, pct = totals.get(share.label, (0, 0.0))
            totals[share.label] = (count + share.count, pct + share.pct)
    labels = label_order(totals)
    if len(labels) <= most:
        return Grouped(tuple(sums), tuple(labels), ())
    ranked = sorted(labels, key=lambda label: totals[label], reverse=True)
    kept, rest = set(ranked[: most - 1]), tuple(ranked[most - 1 :])
    return Grouped(tuple(_with_rest(row, kept) for row in sums), (*(x for x in labels if x in kept), REST), rest)


def percent(pct: float) -> str:
    """Returns a percentage with at most one decimal, and "<0.1 %" if that would be 0."""
    if 0 < pct < 0.05:
        return "<0.1 %"
    return f"{pct:.1f}".removesuffix(".0") + " %"


def whole(pct: float) -> str:
    """Returns a percentage without decimals, halves rounded up. What is not 100 does not become 100."""
    return percent(pct).removesuffix(" %") if 99 < pct < 100 else f"{int(pct + 0.5)}"


def described(facts: Facts, shares: Sequence[Share]) -> str:
    """Returns the numbers of a keyword as a sentence, the largest share first."""
    # First strong isolate and pop directional isolate: the keyword does not reorder the sentence.
    keyword = f"\u2068{drawable(facts.keyword)}\u2069"
    if not any(share.pct > 0 for share in shares):
        return f"{keyword}: no posts."
    largest = sorted((share for share in shares if share.pct > 0), key=lambda share: -share.pct)
    listed = ", ".join(f"{drawable(share.label)} {percent(share.pct)}" for share in largest)
    return f"{keyword}: {facts.subtitle}. {listed}."


def _summed(row: Sequence[Share]) -> dict[str, Share]:
    sums: dict[str, Share] = {}
    for share in row:
        if not (0 <= share.pct < float("inf") and share.count >= 0):
            raise ValueError(f"the share of {share.label!r} is {share.pct} % of {share.count} posts")
        before = sums.get(share.label, Share(share.label, 0.0, 0))
        sums[share.label] = Share(share.label, before.pct + share.pct, before.count + share.count)
    return sums


def _with_rest(row: dict[str, Share], kept: set[str]) -> dict[str, Share]:
    rest = [share for share in row.values() if share.label not in kept]
    one = Share(REST, sum(share.pct for share in rest), sum(share.count for share in rest))
    return {**{label: share for label, share in row.items() if label in kept}, REST: one}


def _posts(count: int) -> str:
    return f"{count:,} post{'' if count == 1 else 's'}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
