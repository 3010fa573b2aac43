"""Makes posts of rows. A post gets the fields that its row lacks; a row that cannot be a post is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from streams.ingest.lines import STDIN, name_of
from streams.ingest.rows import Refusal, RefusalReason, Row
from streams.records import Post, RecordError, Timestamp

MAX_SOURCE_CHARS = 200
"""The most characters of a source, as `Post` allows."""

_UNIX_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
"""Reads seconds since 1970; or milliseconds, if there are very many."""


def _now() -> datetime:
    return datetime.now(UTC)


def _run_id() -> str:
    return secrets.token_hex(8)


def source_name(file: str) -> str:
    """Returns the default source of an input's posts: the file's name, or `stdin`; cut to `MAX_SOURCE_CHARS`."""
    if file == STDIN:
        return name_of(file)
    # A file name may hold bytes that are not UTF-8; Python represents them as surrogates.
    return PurePath(file).name.encode("utf-8", "replace").decode("utf-8")[:MAX_SOURCE_CHARS]


@dataclass(frozen=True)
class PostMaker:
    """Makes posts of rows.

    Attributes:
        source: the source of posts whose rows have none.
        keywords: keywords that every post gets, after its own.
        restamp: whether every post gets the current time, also if its row has a `created_at`.
        run: the part of the ids that differs from all other runs: 64 random bits in hexadecimal.
        now: the clock.
    """

    source: str
    keywords: tuple[str, ...] = ()
    restamp: bool = False
    run: str = field(default_factory=_run_id)
    now: Callable[[], datetime] = _now

    def make(self, row: Row, round_number: int = 1) -> Post | Refusal:
        """Make the post of a row.

        A post without an id gets `<run>-<line>`. No other run makes this id, so a file can be sent again, and a post
        can be traced to its line. From the second round on, such an id is `<run>.<round>-<line>`, and an id that the
        row has gets `~<run>.<round>` at its end.

        Args:
            row: the row.
            round_number: the number of the round in which the row was read, from 1.
        """
        values = dict(row.values)
        try:
            created_at = self.now() if self.restamp or "created_at" not in values else _time(values["created_at"])
            fields = {
                "id": self._id(row, values.get("id"), round_number),
                "text": row.text,
                "created_at": created_at,
                "source": values.get("source", self.source),
                "keywords": (*_keywords(values.get("keywords")), *self.keywords),
                **{name: values.get(name) for name in ("lang", "author", "url")},
            }
            return Post.from_fields(fields)
        except (RecordError, _FieldError) as exc:
            return Refusal(row.line, RefusalReason.INVALID_FIELD, str(exc))

    def _id(self, row: Row, given: object, round_number: int) -> str:
        mark = self.run if round_number == 1 else f"{self.run}.{round_number}"
        if given is None:
            return f"{mark}-{row.line}"
        # Data sets have ids that are numbers; a post's id is a string.
        own = str(given) if isinstance(given, int) and not isinstance(given, bool) else _string("id", given)
        return own if round_number == 1 else f"{own}~{mark}"


class _FieldError(Exception):
    """A value of a row cannot be a field of a post."""


def _time(value: object) -> datetime:
    if isinstance(value, str) and not _is_number(value):
        try:
            return Timestamp.parse(value.strip())
        except ValueError as exc:
            raise _FieldError(f"created_at: {exc}") from None
    try:
        return _UNIX_TIME.validate_python(value)
    except ValidationError:
        raise _FieldError("created_at: is neither an RFC 3339 time nor seconds since 1970") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _keywords(value: object) -> tuple[str, ...]:
    """Returns the keywords of a row, which are a list of strings or a string with commas between them."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.split(","))
    if isinstance(value, list):
        return tuple(_string("keywords", item) for item in value)
    raise _FieldError("keywords: is neither a list nor a string")


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _FieldError(f"{name}: is not a string")
    return value
