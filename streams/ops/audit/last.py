"""Keeps the result of the last audit in Redis, for the HTTP service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Self

from connectors.redis import RedisClient, redis_errors
from streams.ops.audit.checks import Check
from streams.records import Record, Timestamp

_DOING = "keeping the result of the audit"


class AuditResult(Record, frozen=True, kw_only=True):
    """The result of an audit. `ok` says whether every check succeeded; `at` is when the audit ended."""

    at: Timestamp
    ok: bool
    checks: list[Check]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> Self:
        """Returns the result of an audit that ends now."""
        return cls(at=Timestamp.now(UTC), ok=all(check.ok for check in checks), checks=list(checks))


class LastAudit:
    """The place of the last result: the key `PREFIX:audit`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        """Use a client that decodes answers to `str`."""
        self._client = client
        self._key = f"{prefix}:audit"

    async def store(self, result: AuditResult) -> None:
        """Replace the last result.

        Raises:
            ConnectorError: Redis did not answer, or rejected the call.
        """
        with redis_errors(_DOING):
            await self._client.set(self._key, result.to_json())

    async def load(self) -> AuditResult | None:
        """Returns the last result; None if there was no audit since Redis was emptied.

        Raises:
            ConnectorError: Redis did not answer, or rejected the call.
        """
        with redis_errors("reading the result of the last audit"):
            found = await self._client.get(self._key)
        return None if found is None else AuditResult.from_json(str(found).encode())
