"""What the requests and answers of the HTTP service have in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints

MAX_KEYWORD_CHARS = 200


def checked_text(value: str) -> str:
    """Returns a text that the whole application can store.

    Raises:
        ValueError: The text holds U+0000 or a lone surrogate.
    """
    if "\0" in value:
        raise ValueError("holds a NUL character (U+0000)")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which is not Unicode text") from None
    return value


Text = Annotated[str, AfterValidator(checked_text)]
"""A text that the whole application can store."""

Keyword = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_KEYWORD_CHARS),
    AfterValidator(checked_text),
]


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is not within the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its offset that somebody sends."""


class ApiModel(BaseModel):
    """A request or an answer. It has no other members, and is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
