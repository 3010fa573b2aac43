"""Limits how many requests a caller sends in a minute, over all processes.

Redis counts (`lua/take.lua`), and a process asks it for several requests at once: it takes a lease. A lease has what
the caller sends in half a second, and at most a 600th of the limit. It ends after `LEASE_S`, and what is left of it is
lost. So a busy caller costs Redis a tenth of its requests, no minute has more requests than the limit, and each process
can waste a tenth of the limit at most.

While Redis does not answer, each process counts alone, so a caller may send the limit to each of them. That is better
than to refuse everybody, and better than no limit. Redis is tried again every `RETRY_S` with one request. When it is
back, it does not know what the processes counted meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from importlib.resources import files

from connectors.errors import ConnectorError, UnavailableError
from connectors.redis import RedisClient, redis_errors
from connectors.repeats import Repeats
from streams.access.caller import Rate
from streams.access.errors import RateLimitedError
from streams.access.metrics import AccessMetrics
from streams.access.sliding_window import LEASE_S, PARTS, SlidingWindow, Taken

logger = logging.getLogger(__name__)

TIMEOUT_S = 0.5
"""Seconds after which Redis counts as absent."""

RETRY_S = 5.0
"""Seconds until Redis is tried again."""

_LEASES = 600
"""The most requests in a lease, as a part of the limit."""

MAX_CALLERS = 10_000
"""Callers that a process remembers. The one that has not called for longest is forgotten first."""


class _Account:
    """What a process knows of a caller. Times are seconds of the clock."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.window = SlidingWindow()
        """What this process has allowed. It decides while Redis does not answer."""
        self.size = self.left = self.remaining = 0
        """Requests of the lease, those of them that are left, and those that Redis has beyond it."""
        self.begun_at = self.ends_at = self.refused_until = -math.inf


class Limiter:
    """Counts the requests of callers."""

    def __init__(
        self,
        redis: RedisClient,
        metrics: AccessMetrics,
        *,
        prefix: str,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
        retry_s: float = RETRY_S,
    ) -> None:
        """Prepare the limiter.

        Args:
            redis: The client, which stays open.
            metrics: Where requests are counted that only this process limits.
            prefix: What the keys in Redis begin with.
            clock: Seconds of a clock that never goes back.
            timeout_s: Seconds after which Redis counts as absent.
            retry_s: Seconds until Redis is tried again.
        """
        self._prefix = prefix
        self._metrics = metrics
        self._clock = clock
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._script = redis.register_script(files("streams.access").joinpath("lua/take.lua").read_text("utf-8"))
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._away_until = -math.inf
        self._repeats = Repeats()

    async def take(self, id_: str, limit: int) -> Rate:
        """Count one request of a caller.

        Args:
            id_: The caller.
            limit: Requests that it may send in a minute, 1 or more.

        Raises:
            RateLimitedError: The caller has sent as many.
        """
        account = self._account(id_)
        if self._clock() >= account.ends_at or not account.left:
            # Requests that come meanwhile wait for the same lease.
            async with account.lock:
                if self._clock() >= account.ends_at or not account.left:
                    await self._lease(id_, account, limit)
                account.left -= 1
        else:
            account.left -= 1
        return Rate(limit, account.remaining + account.left)

    def _account(self, id_: str) -> _Account:
        account = self._accounts.get(id_)
        if account is None:
            account = self._accounts[id_] = _Account()
            if len(self._accounts) > MAX_CALLERS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(id_)
        return account

    async def _lease(self, id_: str, account: _Account, limit: int) -> None:
        """Have one request left in the lease, or more."""
        now = self._clock()
        if now < account.refused_until:
            raise RateLimitedError(limit, account.refused_until - now)
        wanted = _wanted(account, now, limit)
        account.left = 0
        taken = None if now < self._away_until else await self._take(id_, limit, wanted)
        if taken is None:
            self._metrics.local_limits.inc()
            taken = account.window.take(1, limit, now)
            account.ends_at = now  # the next request is counted by itself
        else:
            # The lease begins before Redis counts it, so it ends before `LEASE_S` is over there.
            account.ends_at = now + LEASE_S
            if taken.given:
                account.window.add(taken.given, now)
        account.begun_at = now
        account.size = account.left = taken.given
        account.remaining = taken.remaining
        if not taken.given:
            account.refused_until = now + taken.retry_after_s
            raise RateLimitedError(limit, taken.retry_after_s)

    async def _take(self, id_: str, limit: int, wanted: int) -> Taken | None:
        """Ask Redis. Returns None if it does not answer."""
        doing = "counting requests"
        key = f"{self._prefix}:api:rate:{id_}"
        try:
            with redis_errors(doing):
                try:
                    async with asyncio.timeout(self._timeout_s):
                        given, remaining, retry_ms = await self._script(keys=[key], args=[limit, wanted, PARTS, ""])
                except TimeoutError as exc:
                    raise UnavailableError(f"Redis did not answer within {self._timeout_s:g} s while {doing}") from exc
        except ConnectorError as exc:
            self._away_until = self._clock() + self._retry_s
            if self._repeats.due("redis"):
                logger.warning("each process counts requests alone until Redis answers: %s", exc)
            return None
        self._repeats.end("redis")
        return Taken(int(given), int(remaining), int(retry_ms) / 1000)


def _wanted(account: _Account, now: float, limit: int) -> int:
    """Returns the size of the next lease: what the caller has lately sent in half of `LEASE_S`."""
    most = limit // _LEASES
    spent = account.size - account.left
    if most <= 1 or not spent:
        return 1
    return max(1, min(most, int(spent * LEASE_S / 2 / max(now - account.begun_at, 1e-3))))
