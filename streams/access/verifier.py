"""Checks API keys without a look into Postgres for each request.

The process holds all keys in memory, without their secrets. They are read again when requests need it:

1. Keys that were read within `REFRESH_S` decide alone.
2. Older ones decide too, while they are read again in the background.
3. Above `STALE_S` a request waits for the reading. So a key that was revoked is refused after `STALE_S` at the latest.
4. A key that is not among them is looked for again, at most once in `RECHECK_S`. So a new key works within a second,
   and guessed keys cause one small query a second.
5. While Postgres does not answer, the keys serve for `KEEP_S` after they were read. No key can be revoked meanwhile,
   except with a Postgres that only this process does not reach. Whether an unknown key is new cannot be told: such a
   request is unavailable, and never admitted.

A reading first asks for a fingerprint of the table, and fetches the keys only if it has changed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime

from connectors.errors import ConnectorError, RejectedError, UnavailableError
from connectors.postgres_pool import PostgresPool
from connectors.repeats import Repeats
from streams.access import keys_sql
from streams.access.caller import Caller
from streams.access.errors import Refusal, UnauthenticatedError
from streams.access.keys import GivenKey, StoredKey
from streams.access.metrics import AccessMetrics
from streams.access.refresher import Refresher

logger = logging.getLogger(__name__)

REFRESH_S = 5.0
"""Seconds after which the keys are read again in the background."""

STALE_S = 10.0
"""Seconds after which a request waits for the keys that are being read."""

RECHECK_S = 1.0
"""Seconds after which an unknown key is looked for again."""

KEEP_S = 3_600.0
"""Seconds for which keys that were read serve while Postgres does not answer."""

_NEVER = (-1, 0)


class KeyVerifier:
    """Tells whose key it is."""

    def __init__(
        self,
        pool: PostgresPool,
        metrics: AccessMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare the verifier.

        Args:
            pool: Connections to Postgres, which are open while the verifier is used.
            metrics: Where failures are counted.
            clock: Seconds of a clock that never goes back.
            now: The time of day.
        """
        self._pool = pool
        self._metrics = metrics
        self._now = now
        self._keys: dict[str, StoredKey] = {}
        self._fingerprint = _NEVER
        self._used_on: dict[str, date] = {}
        self._unsaved: set[str] = set()
        self._repeats = Repeats()
        self._refresher = Refresher(self._read, failed=self._failed, clock=clock)

    @property
    def any_keys(self) -> bool | None:
        """Whether there is a key, revoked and expired ones included; None before they could be read."""
        return None if self._fingerprint == _NEVER else self._fingerprint[0] > 0

    async def start(self) -> None:
        """Read the keys. If Postgres does not answer, the first request reads them.

        Raises:
            RejectedError: Postgres rejected the login, or has no table of keys.
        """
        await self._refresher.first()
        if isinstance(self._refresher.problem, RejectedError):
            raise self._refresher.problem

    async def close(self) -> None:
        """Store the days of use that are not stored yet, if Postgres answers."""
        await self._refresher.close()
        try:
            await self._save_use()
        except ConnectorError as exc:
            logger.warning("the last use of %d API keys is not stored: %s", len(self._unsaved), exc)

    async def refresh(self) -> None:
        """Read the keys again if they are old. A request waits only for those that are too old to decide."""
        if self._refresher.age_s > STALE_S:
            await self._refresher.attempt()
        elif self._refresher.age_s > REFRESH_S:
            self._refresher.start()

    async def verify(self, given: GivenKey) -> Caller:
        """Returns who has the key.

        Raises:
            UnauthenticatedError: There is no such key, or it is revoked or expired.
            UnavailableError: Postgres does not answer, so nobody knows whether there is such a key.
        """
        await self.refresh()
        if given.id not in self._keys and self._refresher.age_s > RECHECK_S:
            await self._refresher.attempt()
        key = self._keys.get(given.id)
        if self._refresher.age_s > (STALE_S if key is None else KEEP_S):
            raise self.unavailable()
        if key is None or not key.matches(given):
            raise UnauthenticatedError(Refusal.UNKNOWN)
        if key.revoked_at is not None:
            raise UnauthenticatedError(Refusal.REVOKED)
        now = self._now()
        if key.is_expired(now):
            raise UnauthenticatedError(Refusal.EXPIRED)
        self._note_use(key, now.astimezone(UTC).date())
        return Caller(key.id, key.name, key.scopes, key.requests_per_minute)

    def unavailable(self) -> UnavailableError:
        """Returns the error of a request that cannot be decided now."""
        why = self._refresher.problem or "PostgreSQL takes long to answer"
        return UnavailableError(f"API keys cannot be checked now: {why}")

    def _note_use(self, key: StoredKey, today: date) -> None:
        if self._used_on.get(key.id, key.last_used_on) != today:
            self._used_on[key.id] = today
            self._unsaved.add(key.id)

    async def _read(self) -> None:
        async with keys_sql.keys_connection(self._pool, "reading the API keys") as connection:
            found = await keys_sql.fingerprint(connection)
            if found != self._fingerprint:
                # Keys that change in between have another fingerprint at the next reading.
                keys = await keys_sql.read_for_verifiers(connection)
                self._keys = {key.id: key for key in keys}
                self._fingerprint = found
        self._repeats.end("reading")
        try:
            await self._save_use()
        except RejectedError as exc:
            self._unsaved.clear()
            if self._repeats.due("use"):
                logger.warning("the last use of API keys is not stored: %s", exc)

    async def _save_use(self) -> None:
        ids = sorted(self._unsaved)
        if ids:
            async with keys_sql.keys_connection(self._pool, "storing the last use of API keys") as connection:
                await keys_sql.mark_used(connection, ids, self._now().astimezone(UTC).date())
            self._unsaved.difference_update(ids)

    def _failed(self, problem: ConnectorError) -> None:
        self._metrics.key_failures.inc()
        if self._repeats.due("reading"):
            logger.warning("the API keys cannot be read, and those that are known serve meanwhile: %s", problem)
