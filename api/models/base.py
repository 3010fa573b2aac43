"""What the requests and answers of the HTTP service have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

MAX_KEYWORD_CHARS = 200

Keyword = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_KEYWORD_CHARS)]


class ApiModel(BaseModel):
    """A request or an answer. It has no other members, and is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


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
