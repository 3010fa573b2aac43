"""Reads the dates of HTTP headers, and how long a server asks to wait. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


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
