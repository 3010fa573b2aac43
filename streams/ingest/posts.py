"""Makes posts of rows. A post gets the fields that its row lacks; a row that cannot be a post is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath

from streams.ingest.lines import STDIN, name_of
from streams.ingest.rows import Refusal, RefusalReason, Row
from streams.records import Post, RecordError
from streams.records.values import MAX_SOURCE_CHARS


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
        run: the part of the ids that differs from all other runs: 64 random bits in hexadecimal.
        now: the clock.
    """

    source: str
    keywords: tuple[str, ...] = ()
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
        given = values.get("keywords")
        fields = {
            "id": self._id(row, values.get("id"), round_number),
            "text": row.text,
            "created_at": values.get("created_at") or self.now(),
            "source": values.get("source", self.source),
            "keywords": (*(given if isinstance(given, tuple) else ()), *self.keywords),
            **{name: values.get(name) for name in ("lang", "author", "url")},
        }
        try:
            return Post.from_fields(fields)
        except RecordError as exc:
            return Refusal(row.line, RefusalReason.INVALID_FIELD, str(exc))

    def _id(self, row: Row, given: object, round_number: int) -> str:
        mark = self.run if round_number == 1 else f"{self.run}.{round_number}"
        if given is None:
            return f"{mark}-{row.line}"
        return f"{given}" if round_number == 1 else f"{given}~{mark}"
