"""When a feed is fetched again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from connectors.retry_after import http_date

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,10})", re.IGNORECASE)
_LONGEST_DOUBLING = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often feeds are fetched.

    Attributes:
        interval_s: seconds between two fetches of a feed, unless the server or the feed asks for more.
        least_s: the least that is waited, whatever is asked for.
        most_s: the most that is waited, whatever is asked for.
    """

    interval_s: float
    least_s: float = 60.0
    most_s: float = 86_400.0

    def after_success(self, feed_s: float | None, server_s: float | None) -> float:
        """Returns the seconds until the next fetch: the largest of the interval and the hints, within the limits.

        Args:
            feed_s: what the feed asks for in its document.
            server_s: what the server asks for in its headers.
        """
        return self._within(max(self.interval_s, feed_s or 0.0, server_s or 0.0))

    def after_failure(self, failures: int, retry_after_s: float | None) -> float:
        """Returns the seconds until the next fetch: the interval, doubled with each failure in a row.

        Args:
            failures: how many fetches in a row have failed, at least 1.
            retry_after_s: what the server asks for; None if it does not.
        """
        doubled = self.interval_s * 2 ** min(failures - 1, _LONGEST_DOUBLING)
        return self._within(max(doubled, retry_after_s or 0.0))

    def _within(self, seconds: float) -> float:
        return min(max(seconds, self.least_s), self.most_s)


def server_hint_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Returns for how many seconds an answer is fresh: `Cache-Control: max-age`, or else `Expires`; None without them.

    Args:
        headers: the headers of the answer; names are in lower case.
        now: the current time, aware.
    """
    if (found := _MAX_AGE.search(headers.get("cache-control", ""))) is not None:
        return float(found[1])
    expires = http_date(headers.get("expires", ""))
    return None if expires is None else max(0.0, (expires - now).total_seconds())
