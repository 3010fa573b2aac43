"""Finds the keywords that rise fastest: those with the most posts, compared with what they had before.

The candidates are the keywords with the most posts in the latest window of the longest size. Each one's latest complete
window of a short size is compared with the mean of the windows before it, which span about an hour:

    rise = (posts in the latest complete window + 1) / (mean of the windows before it + 1)

The ones keep keywords with very few posts from the top (additive smoothing).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from streams.query.span import Span
from streams.query.windows import KeywordWindows
from streams.records import ALL_KEYWORDS
from streams.windows.reader import Row
from streams.windows.top import TopKeywords

CANDIDATES = 300
"""Keywords that are compared. Each takes a tenth of a millisecond of Redis."""

_AT_ONCE = 32
"""Keywords whose windows are read at the same time."""

BEFORE_S = 3_600
"""Seconds of the windows before the latest one."""


class Rising(NamedTuple):
    """A keyword that rises.

    Attributes:
        row: its latest window of the longest size.
        rise: how many times as many posts it has as before.
    """

    row: Row
    rise: float


def rise(posts: Sequence[int]) -> float:
    """Returns the rise of a keyword.

    Args:
        posts: its posts in consecutive windows, the latest complete one last; at least two.
    """
    *before, latest = posts
    return (latest + 1) / (sum(before) / len(before) + 1)


async def rising(windows: KeywordWindows, limit: int) -> list[Rising]:
    """Returns the keywords that rise fastest, at most `limit`, and only those that rise. The tables must be current.

    Raises:
        ConnectorError: Redis does not answer, or refuses the call.
    """
    size = windows.sizes[min(1, len(windows.sizes) - 1)]
    newest = await windows.newest_end(size)
    if newest is None:
        return []
    length = size * 1_000
    end = newest - length  # the newest window still fills
    span = Span(size, end - length * (1 + max(1, BEFORE_S // size)), end)
    rows = [row for row in await TopKeywords(windows).read(CANDIDATES + 1) if row[0].keyword != ALL_KEYWORDS]
    places = asyncio.Semaphore(_AT_ONCE)

    async def compare(row: Row) -> Rising:
        async with places:
            found = await windows.in_span(row[0].keyword, span)
        posts = {key.start: int(fields["n"]) for key, fields in found.rows}
        return Rising(row, rise([posts.get(start, 0) for start in span.starts]))

    compared = [one for one in await asyncio.gather(*map(compare, rows)) if one.rise > 1]
    # Equal rises have the order of the candidates.
    return sorted(compared, key=lambda one: -one.rise)[:limit]
