"""Makes posts of rows: what a row lacks is filled in, what cannot be a post is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from streams.ingest.lines import STDIN, name_of
from streams.ingest.rows import Refusal, RefusalReason, Row
from streams.records import Post, RecordError

MAX_SOURCE_CHARS = 200
"""The most characters of a source, as `Post` allows."""

_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


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
    """Turns rows into posts.

    Attributes:
        source: the source of posts that name none.
        keywords: added to every post, after its own.
        restamp: take the present time even where a row has a `created_at`.
        run: distinguishes this run from all others in the ids it makes (64 random bits, in hexadecimal).
        now: the clock.
    """

    source: str
    keywords: tuple[str, ...] = ()
    restamp: bool = False
    run: str = field(default_factory=_run_id)
    now: Callable[[], datetime] = _now

    def make(self, row: Row, round_number: int = 1) -> Post | Refusal:
        """The post of a row.

        A row without an id gets `<run>-<line>`: never the same twice, so that a file can be sent again, and yet a post
        can be traced to its line. From the second round on, every id is marked with the run and the round.

        Args:
            row: what was read.
            round_number: how often the input has been read, this time included.
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
        # Data sets have ids that are numbers; on the wire they are strings.
        own = str(given) if isinstance(given, int) and not isinstance(given, bool) else _string("id", given)
        return own if round_number == 1 else f"{own}~{mark}"


class _FieldError(Exception):
    """A value cannot be a field of a post."""


def _time(value: object) -> datetime:
    try:
        return _TIME.validate_python(value)
    except ValidationError as exc:
        if exc.errors(include_input=False)[0]["type"] == "timezone_aware":
            raise _FieldError("created_at: has no time zone; write 2026-03-01T12:00:00Z") from None
        raise _FieldError("created_at: is neither an RFC 3339 time nor seconds since 1970") from None


def _keywords(value: object) -> tuple[str, ...]:
    """Keywords as a list of strings, or as one string that commas separate."""
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
