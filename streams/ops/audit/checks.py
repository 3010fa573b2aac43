"""The checks that an audit makes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.errors import AuditError


@dataclass(frozen=True)
class Check:
    """A check of the audit. `note` explains the numbers or the failure.

    A check that could not be made has `ok` True, and its note says why.
    """

    name: str
    expected: int
    found: int
    ok: bool
    note: str = ""


def check_count(name: str, classified: int, found: int, *, complete: bool, note: str = "") -> Check:
    """Check that a store has as many posts as were classified.

    The check succeeds if `complete` is false, because the classified posts that Kafka has deleted cannot be counted.
    """
    if not complete:
        reason = "not comparable: Kafka no longer holds the classified topic from its beginning"
        return Check(name, classified, found, ok=True, note=reason)
    return Check(name, classified, found, classified == found, note)


def require_balance(checks: Sequence[Check]) -> None:
    """Raise an error if a check failed.

    Raises:
        AuditError: At least one check failed; the message names each of them.
    """
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise AuditError(f"the audit failed: {'; '.join(failed)}")
