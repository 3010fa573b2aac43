"""Rounds shares so that they add up to exactly 100 percent. Pure."""

from __future__ import annotations

from collections.abc import Mapping

WHOLE = 10_000
"""All of it, in hundredths of a percent."""


def shares(counts: Mapping[str, int]) -> dict[str, int]:
    """Returns the share of each count in their sum, in hundredths of a percent, in the order of `counts`.

    The shares add up to exactly `WHOLE`, or all are 0 if there is nothing to share. Each is the exact share, rounded
    down or up, by the method of largest remainders (Hamilton's method; Balinski and Young, Fair Representation, 1982):
    every share is rounded down, and the hundredths that are left go to those that lost most. Of equal remainders, the
    one with more posts comes first, then the one whose name comes first in the order of Unicode. So a larger count
    never has a smaller share, and the result does not depend on the order of `counts`.
    """
    total = sum(counts.values())
    if total == 0:
        return dict.fromkeys(counts, 0)
    divided = {name: divmod(WHOLE * count, total) for name, count in counts.items()}
    found = {name: rounded for name, (rounded, _) in divided.items()}
    ranked = sorted(counts, key=lambda name: (-divided[name][1], -counts[name], name))
    for name in ranked[: WHOLE - sum(found.values())]:
        found[name] += 1
    return found


def percentages(counts: Mapping[str, int]) -> dict[str, float]:
    """Returns the same shares in percent, with two decimals."""
    return {name: share / 100 for name, share in shares(counts).items()}
