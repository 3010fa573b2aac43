"""What the evaluation reads from the window tables in Redis: hours that tell what is usual, and absent windows.

The windows of hours that ended a day ago or more are final, so they are kept in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from streams.alerts.engine.baseline import HOUR_MS, HOUR_S, KEPT_MS
from streams.alerts.engine.measure import Hour, Reading
from streams.query.windows import KeywordWindows
from streams.records import ALL_KEYWORDS
from streams.windows.codec import to_window
from streams.windows.tumbling import window_start

MAX_FIRST = 100_000
"""Keywords whose first hour is kept in memory."""

MAX_HOURS = 500_000
"""Hours that are kept in memory: about 200 MB if all have six emotions."""


class NotYetError(Exception):
    """The shard of a keyword has not counted the posts up to the end of a window."""


class AlertTables:
    """Reads hours and single windows. One task uses it at a time."""

    def __init__(self, windows: KeywordWindows) -> None:
        """Read with `windows`, whose client somebody else closes."""
        self._windows = windows
        self._kept: OrderedDict[tuple[str, int], Hour | None] = OrderedDict()
        self._first: OrderedDict[str, int] = OrderedDict()

    async def hours(self, keyword: str, starts: Iterable[int]) -> dict[int, Hour]:
        """Returns hours of a keyword that are known, by their starts in ms since 1970.

        An hour in which others had posts and the keyword had none has 0 posts, if the keyword had posts before. There
        is none before the first hour of the keyword, because it may not have been followed then; and none if the tables
        have no windows of an hour, or no longer hold it.

        Raises:
            ConnectorError: Redis does not answer, or rejects the call.
        """
        wanted = sorted(starts)
        if not wanted or HOUR_S not in self._windows.sizes:
            return {}
        await self._keep(keyword, wanted)
        absent = [start for start in wanted if self._kept.get((keyword, start)) is None]
        if absent and keyword != ALL_KEYWORDS:
            first = await self._first_hour(keyword, wanted[-1])
            absent = [] if first is None else [start for start in absent if start > first]
            await self._keep(ALL_KEYWORDS, absent)
        silent = {*absent}
        found: dict[int, Hour] = {}
        for start in wanted:
            hour = self._kept.get((keyword, start))
            if start in silent and self._kept.get((ALL_KEYWORDS, start)) is not None:
                hour = Hour(start, 0, {}, {})
            if hour is not None:
                found[start] = hour
        while len(self._kept) > MAX_HOURS:
            self._kept.popitem(last=False)
        return found

    async def _keep(self, keyword: str, starts: Iterable[int]) -> None:
        missing = [start for start in starts if (keyword, start) not in self._kept]
        if not missing:
            return
        found = await self._windows.at_starts(keyword, HOUR_S, missing)
        hours = {key.start: Reading.of_window(to_window(key, row)) for key, row in found.rows}
        for start in missing:
            one, hour = hours.get(start), None
            if one is not None:
                hour = Hour(start, one.count, one.labels, one.sentiments, one.unsupported)
            self._kept[keyword, start] = hour

    async def _first_hour(self, keyword: str, last: int) -> int | None:
        """Returns the start of the first hour in which a keyword had posts, as far back as any rule looks from `last`.

        None if it had none up to then. All of these hours are read, in one round trip, until there is one.
        """
        if keyword not in self._first:
            starts = range(max(0, last - KEPT_MS), last + HOUR_MS, HOUR_MS)
            found = await self._windows.at_starts(keyword, HOUR_S, starts)
            if not found.rows:
                return None
            if len(self._first) >= MAX_FIRST:
                self._first.popitem(last=False)
            self._first[keyword] = min(key.start for key, _ in found.rows)
        return self._first[keyword]

    async def filling(self, keyword: str, size: int, now_ms: int) -> list[Reading]:
        """Returns those windows of the present and of the one before that are not final, as they are now.

        Raises:
            ConnectorError: Redis does not answer, or rejects the call.
        """
        start = window_start(now_ms, size)
        found = await self._windows.at_starts(keyword, size, [start - size * 1_000, start])
        readings = [Reading.of_window(to_window(key, row)) for key, row in found.rows]
        return [reading for reading in readings if not reading.final]

    async def absent(self, keyword: str, size: int, start: int) -> Reading | None:
        """Returns what is known of a window whose final record has not come, although there is one of all posts.

        Returns:
            The window, if the tables have it as final. An empty one, if the keyword had no posts. None if the tables
            cannot tell, because they no longer hold windows of this time.

        Raises:
            NotYetError: The window is not final yet, or the keyword may still get posts of this time.
            ConnectorError: Redis does not answer, or rejects the call.
        """
        found = await self._windows.at_starts(keyword, size, [start])
        if found.rows:
            reading = Reading.of_window(to_window(*found.rows[0]))
            if not reading.final:
                raise NotYetError
            return reading
        end = start + size * 1_000
        if found.complete_from is None or start < found.complete_from or end <= found.expired_to:
            return None
        if found.watermark is None or found.watermark < end:
            raise NotYetError
        return Reading.silent(keyword, size, start)
