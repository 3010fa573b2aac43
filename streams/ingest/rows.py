"""The rows of an input, and the refusals of rows that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

FIELDS = ("text", "id", "created_at", "source", "keywords", "lang", "author", "url")
"""The fields of a post that an input can have, by their names in a header or a JSON object."""


class InputFormat(StrEnum):
    """The format of an input."""

    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    TEXT = "text"


class RefusalReason(StrEnum):
    """Why a row was refused."""

    LINE_TOO_LONG = "line_too_long"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    INVALID_CSV = "invalid_csv"
    WRONG_COLUMNS = "wrong_columns"
    MISSING_TEXT = "missing_text"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    INVALID_FIELD = "invalid_field"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be used: the line at which it begins, and why. `detail` has no text of the row in it."""

    line: int
    reason: RefusalReason
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row with a usable text.

    Attributes:
        line: the line at which the row begins, from 1.
        text: the text of the post, neither blank nor too long.
        values: the other fields as the input has them, without blank ones. From JSON they may have any type, from the
            other formats they are strings.
    """

    line: int
    text: str
    values: Mapping[str, object] = field(default_factory=dict)


def make_row(line: int, values: Mapping[str, object], *, text_max_chars: int) -> Row | Refusal:
    """Make a row, or a refusal if there is no usable text.

    Args:
        line: the line at which the row begins.
        values: the fields, by their names in `FIELDS`. A blank string or None counts as no value.
        text_max_chars: the longest text, in characters.
    """
    text = values.get("text")
    if text is None:
        return Refusal(line, RefusalReason.MISSING_TEXT, "there is no text")
    if not isinstance(text, str):
        return Refusal(line, RefusalReason.MISSING_TEXT, "the text is not a string")
    if not text.strip():
        return Refusal(line, RefusalReason.EMPTY_TEXT, "the text is empty")
    if len(text) > text_max_chars:
        detail = f"the text has {len(text)} characters; {text_max_chars} are allowed"
        return Refusal(line, RefusalReason.TEXT_TOO_LONG, detail)
    if "\0" in text:
        return Refusal(line, RefusalReason.INVALID_FIELD, "the text holds a NUL character (U+0000)")
    return Row(line, text, {name: value for name, value in values.items() if name != "text" and not _is_blank(value)})


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
