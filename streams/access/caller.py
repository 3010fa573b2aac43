"""Who calls the HTTP service."""

from __future__ import annotations

from dataclasses import dataclass

from streams.access.scopes import ALL_SCOPES, Scope


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of a caller's limit after a request.

    Attributes:
        limit: requests that the caller may send in a minute.
        remaining: requests that it may still send now.
    """

    limit: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they may do.

    Attributes:
        id: identifies the caller in Redis and in logs. Not secret.
        name: for people: the name of the key, or the subject of the token.
        scopes: what the caller may do.
        requests_per_minute: the caller's own limit; None for the default, 0 for no limit.
        rate: what is left of the limit; None if there is none.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    requests_per_minute: int | None = None
    rate: Rate | None = None


ANYBODY = Caller("anybody", "anybody", ALL_SCOPES, requests_per_minute=0)
"""The caller of a service that runs open."""
