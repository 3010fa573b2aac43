"""Maps the statuses of HTTP answers to errors. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.protocol import RateLimitError

_FOR_NOW = {408, 421, 423, 425}
"""Statuses below 500 after which the same request may succeed later."""


def http_date(text: str) -> datetime | None:
    """Returns the time of a header such as `Expires` (RFC 9110, section 5.6.7), in UTC if it names no zone.

    Returns None if the text is not a date that exists.
    """
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Returns the seconds of a `Retry-After` header; None if the header is missing or malformed.

    Args:
        headers: the headers of the answer; names are looked up in lower case and as written.
        now: the time that a date is compared with; the current time by default.
    """
    text = (headers.get("retry-after") or headers.get("Retry-After") or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        at = http_date(text)
        if at is None:
            return None
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def check_status(status: int, headers: Mapping[str, str], what: str) -> None:
    """Raise an error if the status of an answer is not below 400.

    Args:
        status: the status.
        headers: the headers of the answer.
        what: what was asked, for the message, without a secret: `the search of api.bsky.app`.

    Raises:
        RateLimitError: 429; or 503 with a `Retry-After`.
        UnavailableError: Another status of 500 and more, or 408, 421, 423 or 425.
        RejectedError: Any other status of 400 and more.
    """
    if status < 400:
        return
    wait = retry_after_s(headers)
    if status == 429 or (status == 503 and wait is not None):
        named = "" if wait is None else f" for {wait:g} s"
        raise RateLimitError(f"{what} answered {status}: it asks to wait{named}", wait)
    if status >= 500 or status in _FOR_NOW:
        raise UnavailableError(f"{what} answered {status}")
    hint = {401: ": the credentials are missing or wrong", 403: ": access is forbidden"}.get(status, "")
    raise RejectedError(f"{what} answered {status}{hint}")
