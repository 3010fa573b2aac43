"""The place in the list of incidents at which a page ends, as a text for addresses. Pure."""

from __future__ import annotations

import base64
import re
from datetime import datetime, timedelta

from streams.records import EARLIEST

MAX_CHARS = 2_000
"""The most characters of a place."""

# 17 digits of microseconds end in the year 5138.
_FORM = re.compile(r"(\d{1,17})-([A-Za-z0-9_-]{1,1980})", re.ASCII)
_MICROSECOND = timedelta(microseconds=1)


def place_of(decided: datetime, incident: str) -> str:
    """Returns the place after an incident, without characters that an address would have to escape."""
    key = base64.urlsafe_b64encode(incident.encode()).decode().rstrip("=")
    return f"{(decided - EARLIEST) // _MICROSECOND}-{key}"


def parse_place(text: str) -> tuple[datetime, str]:
    """Returns the decision and the key of the incident that `place_of` was given.

    Raises:
        ValueError: The text is no place.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("is not the `next_before` of a page")
    try:
        incident = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4)).decode()
    except ValueError:
        raise ValueError("is not the `next_before` of a page") from None
    if "\0" in incident:
        raise ValueError("is not the `next_before` of a page")
    return EARLIEST + int(found[1]) * _MICROSECOND, incident
