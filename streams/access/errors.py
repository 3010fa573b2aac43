"""Why a call of the HTTP service is refused.

AccessError                 base class; the message is one line for the caller, and holds no credentials
├── UnauthenticatedError    no credentials, or such that are not accepted: 401
├── ForbiddenError          the caller lacks a scope: 403
└── RateLimitedError        the caller has sent as many requests as it may: 429
connectors.errors.UnavailableError  nobody knows now whether the credentials are valid: 503
"""

from __future__ import annotations

from enum import StrEnum

from streams.access.scopes import Scope
from streams.errors import EmostreamError


class Refusal(StrEnum):
    """Why a call is refused, for metrics. The caller does not learn which of those of a 401 it was."""

    MISSING = "missing"
    """There are no credentials."""
    MALFORMED = "malformed"
    """The credentials are neither a key nor a token, or there are several."""
    UNKNOWN = "unknown"
    """No such key, another secret, or a signature of nobody known."""
    EXPIRED = "expired"
    """The key or the token is no longer valid."""
    REVOKED = "revoked"
    """The key was revoked."""
    CLAIMS = "claims"
    """A token of another issuer, for another audience, not valid yet, or without a claim that is needed."""
    SCOPE = "scope"
    """The caller lacks the scope."""
    RATE = "rate"
    """The caller has sent too many requests."""
    UNAVAILABLE = "unavailable"
    """The keys of Postgres or of the issuer could not be read."""


class AccessError(EmostreamError):
    """A call is refused.

    Attributes:
        refusal: why.
    """

    refusal: Refusal


class UnauthenticatedError(AccessError):
    """The call has no credentials, or such that are not accepted.

    All have the same message, so that nobody learns which keys exist.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__("a valid API key or bearer token is needed")
        self.refusal = refusal


class ForbiddenError(AccessError):
    """The credentials are valid, and do not allow this.

    Attributes:
        scope: what is missing.
    """

    refusal = Refusal.SCOPE

    def __init__(self, scope: Scope) -> None:
        super().__init__(f"these credentials do not have the scope {scope}")
        self.scope = scope


class RateLimitedError(AccessError):
    """The caller has sent as many requests as it may in a minute.

    Attributes:
        limit: requests that the caller may send in a minute.
        retry_after_s: seconds until the next request can be accepted.
    """

    refusal = Refusal.RATE

    def __init__(self, limit: int, retry_after_s: float) -> None:
        super().__init__(f"the limit of {limit:,} requests a minute is used up")
        self.limit = limit
        self.retry_after_s = retry_after_s
