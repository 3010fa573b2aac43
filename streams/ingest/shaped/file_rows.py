"""Reads the rows of a file as events."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from connectors.errors import UnavailableError
from connectors.sources.events import SkipReason, SourceEvent, SourcePost, SourceSkipped
from streams.errors import InputError
from streams.ingest.reading import open_input, read_rows
from streams.ingest.rows import Refusal, RefusalReason, Row
from streams.ingest.shaped.done import FoundFile
from streams.ingest.shaped.options import FileShape

_MOST_CHARS: Final = 4_000_000
"""Characters after which a batch of rows ends."""


class FileRows:
    """The rows of a file, in order. Blocking; for one thread at a time. Call `close` at the end, whatever happened."""

    def __init__(self, shape: FileShape, name: str, local: AbstractContextManager[Path]) -> None:
        """Prepare to read; nothing is opened.

        Args:
            shape: how files are read.
            name: the name of the file in messages.
            local: yields the file on this machine when it is entered.
        """
        self._shape = shape
        self._name = name
        self._local = local
        self._stack = ExitStack()
        self._path: Path | None = None
        self._rows: Iterator[Row | Refusal] | None = None
        self._failure: InputError | UnavailableError | None = None

    def batch(self, most: int) -> list[Row | Refusal]:
        """Returns the next rows, at most `most`, and fewer if they are long; none at the end.

        The rows before a problem are returned first, and the next call raises the error.

        Raises:
            InputError: The file is not what its format says.
            UnavailableError: The file cannot be read for now.
            OtherFileError: The file is gone, or has another content now.
        """
        if self._failure is not None:
            raise self._failure
        found: list[Row | Refusal] = []
        try:
            chars = 0
            for item in islice(self._opened(), most):
                found.append(item)
                chars += _chars(item)
                if chars >= _MOST_CHARS:
                    break
        except InputError as exc:
            message = str(exc) if self._path is None else str(exc).replace(str(self._path), self._name)
            kind = UnavailableError if _is_of_the_system(exc.__cause__) else InputError
            self._failure = kind(message)
            self._failure.__cause__ = exc
            if not found:
                raise self._failure from exc
        return found

    def _opened(self) -> Iterator[Row | Refusal]:
        if self._rows is None:
            self._path = self._stack.enter_context(self._local)
            spec = self._shape.spec(str(self._path))
            self._rows = read_rows(self._stack.enter_context(open_input(str(self._path), spec)), spec)
        return self._rows

    def close(self) -> None:
        """Close the file."""
        self._rows = None
        self._stack.close()


def _chars(item: Row | Refusal) -> int:
    if isinstance(item, Refusal):
        return len(item.detail)
    return len(item.text) + sum(len(value) for value in item.values.values() if isinstance(value, str))


def _is_of_the_system(cause: BaseException | None) -> bool:
    """Returns whether the system could not read a file, and not its content is wrong."""
    return isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, gzip.BadGzipFile)


def event_of(item: Row | Refusal, file: FoundFile, instance: str, now: datetime) -> SourceEvent:
    """Returns the event of a row.

    A post without an id gets `<file>-<line>`, and one without a time that of its file.

    Args:
        item: the row, or why it cannot be used.
        file: its file.
        instance: the instance of the source, with whose name each id begins.
        now: the present time; no post is later.
    """
    if isinstance(item, Refusal):
        return SourceSkipped(reason=_reason(item), detail=f"{file.shown}, line {item.line}: {item.detail}")
    values: dict[str, Any] = dict(item.values)
    # A file system may state a time that is beyond those of Python.
    written = datetime.fromtimestamp(min(file.modified, now.timestamp()), UTC)
    own = {name: values[name] for name in ("author", "lang", "url", "keywords") if name in values}
    return SourcePost(
        id=f"{instance}:{values.get('id') or f'{file.shown}-{item.line}'}",
        text=item.text,
        created_at=min(values.get("created_at") or written, now),
        cleaned=item.cleaned,
        **own,
    )


_REASONS: Final = {
    RefusalReason.NOT_A_POST: SkipReason.NOT_A_POST,
    RefusalReason.REMOVED: SkipReason.REMOVED,
    RefusalReason.EMPTY_TEXT: SkipReason.EMPTY_TEXT,
    RefusalReason.LINE_TOO_LONG: SkipReason.TOO_LARGE,
}


def _reason(refusal: Refusal) -> SkipReason:
    return _REASONS.get(refusal.reason, SkipReason.UNREADABLE)
