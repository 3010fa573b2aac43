"""The rows of an input, and the refusals of rows that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum

from connectors.sources.events import SkipReason, SourceDeletion, SourceEvent, SourcePost, SourceSkipped
from connectors.sources.shapes.fields import is_removed, post_fields
from streams.characters import cleaned, is_clean

TOO_LONG = "the line is longer than 4 MiB"
NOT_UTF8 = "the line is not valid UTF-8; if the file has another encoding, give it with --encoding"


class InputFormat(StrEnum):
    """The format of an input."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    TSV = "tsv"
    TEXT = "text"
    PARQUET = "parquet"


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
    REMOVED = "removed"
    UNREADABLE = "unreadable"
    NOT_A_POST = "not_a_post"
    """An event of a shape that is no post, as expected. It is passed over, and does not count as refused."""


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
        line: the line at which the row begins, from 1; in a JSON array or Parquet the number of the row.
        text: the text of the post, neither blank nor too long.
        values: the other fields that the row has, as `post_fields` converts them.
        cleaned: whether U+FFFD stands for characters that cannot be stored.
    """

    line: int
    text: str
    values: Mapping[str, object] = field(default_factory=dict)
    cleaned: bool = False


@dataclass(frozen=True)
class RowRules:
    """Which rows can be used.

    Attributes:
        text_max_chars: the longest text, in characters.
        zone: the zone of times that state none; None to refuse them.
        times: whether `created_at` is read.
        clean: whether U+0000 and lone surrogates become U+FFFD, or are refused.
    """

    text_max_chars: int
    zone: tzinfo | None = None
    times: bool = True
    clean: bool = True

    def row(self, line: int, values: Mapping[str, object], *, was_cleaned: bool = False) -> Row | Refusal:
        """Make a row of the fields of a post, or a refusal if they cannot be a post.

        Args:
            line: the line at which the row begins.
            values: the fields, by their names in `FIELDS`. A blank string or None counts as no value.
            was_cleaned: whether characters were replaced already.
        """
        found = values if self.times else {name: value for name, value in values.items() if name != "created_at"}
        if unclean := [name for name, value in found.items() if not _is_clean(value)]:
            if not self.clean:
                detail = f"{unclean[0]}: holds U+0000 or a lone surrogate, which cannot be stored"
                return Refusal(line, RefusalReason.INVALID_FIELD, detail)
            found, was_cleaned = {name: _cleaned(value) for name, value in found.items()}, True
        text = found.get("text")
        if not isinstance(text, str):
            detail = "there is no text" if text is None else "the text is not a string"
            return Refusal(line, RefusalReason.MISSING_TEXT, detail)
        if (refusal := self._refusal(line, text)) is not None:
            return refusal
        try:
            return Row(line, text, post_fields(found, self.zone), was_cleaned)
        except ValueError as exc:
            return Refusal(line, RefusalReason.INVALID_FIELD, str(exc))

    def row_of_event(self, line: int, event: SourceEvent, *, was_cleaned: bool = False) -> Row | Refusal:
        """Make a row of the event of a shape, or a refusal if it is no post.

        Args:
            line: the line at which the event begins.
            event: the event.
            was_cleaned: whether characters were replaced already.
        """
        if isinstance(event, SourcePost):
            return self.row(line, _values(event), was_cleaned=was_cleaned)
        if isinstance(event, SourceSkipped):
            return Refusal(line, _REASONS[event.reason], event.detail)
        detail = "a deletion" if isinstance(event, SourceDeletion) else "a gap"
        return Refusal(line, RefusalReason.NOT_A_POST, detail)

    def _refusal(self, line: int, text: str) -> Refusal | None:
        if not text.strip():
            return Refusal(line, RefusalReason.EMPTY_TEXT, "the text is empty")
        if len(text) > self.text_max_chars:
            detail = f"the text has {len(text)} characters; {self.text_max_chars} are allowed"
            return Refusal(line, RefusalReason.TEXT_TOO_LONG, detail)
        if is_removed(text):
            return Refusal(line, RefusalReason.REMOVED, "the text says that the post was removed")
        return None


_REASONS = {
    SkipReason.NOT_A_POST: RefusalReason.NOT_A_POST,
    SkipReason.REMOVED: RefusalReason.REMOVED,
    SkipReason.EMPTY_TEXT: RefusalReason.EMPTY_TEXT,
    SkipReason.UNREADABLE: RefusalReason.UNREADABLE,
    SkipReason.TOO_LARGE: RefusalReason.LINE_TOO_LONG,
    # These are of webhooks, and no shape has them.
    SkipReason.BAD_SIGNATURE: RefusalReason.UNREADABLE,
    SkipReason.BUSY: RefusalReason.UNREADABLE,
}


def _values(post: SourcePost) -> dict[str, object]:
    """Returns the fields of a post of a network."""
    return {
        "text": post.text,
        "id": post.id,
        "created_at": post.created_at,
        "keywords": post.keywords,
        "lang": post.lang,
        "author": post.author,
        "url": post.url,
    }


def _is_clean(value: object) -> bool:
    if isinstance(value, str):
        return is_clean(value)
    return not isinstance(value, list | tuple) or all(is_clean(item) for item in value if isinstance(item, str))


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, list | tuple):
        return type(value)(cleaned(item) if isinstance(item, str) else item for item in value)
    return value
