"""Reads the body of a request: a JSON object, an array of them, or a JSON object a line. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from connectors.sources.events import SkipReason, SourceEvent, SourceSkipped
from streams.ingest.shaped.documents import DocumentReader

_PROBLEMS = frozenset({SkipReason.UNREADABLE, SkipReason.EMPTY_TEXT})
"""Reasons that the answer names, because the sender meant a post."""


class BodyError(Exception):
    """A body that cannot be read. The message is one line without its content.

    Attributes:
        status: the HTTP status of the answer.
    """

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Body(NamedTuple):
    """What a body has.

    Attributes:
        events: an event for each document.
        problems: which documents cannot be read, by their index from 0, and why.
        accepted: the number of the others.
    """

    events: list[SourceEvent]
    problems: list[tuple[int, str]]
    accepted: int


def read_body(body: bytes, reader: DocumentReader, *, most: int, received_at: datetime) -> Body:
    """Returns the events of a body.

    A post that has no id gets a hash of its document, so that it has the same id if it is sent again.

    Raises:
        BodyError: The body is no JSON (400), or has too many documents (413).
    """
    events: list[SourceEvent] = []
    problems: list[tuple[int, str]] = []
    for index, (document, was_cleaned) in enumerate(_documents(body, reader)):
        if index >= most:
            raise BodyError(413, f"a request has at most {most:,} posts")
        if isinstance(document, SourceSkipped):
            event: SourceEvent = document
        else:
            event = reader.event_of(
                document, default_id=_hash(document), received_at=received_at, was_cleaned=was_cleaned
            )
        if isinstance(event, SourceSkipped) and event.reason in _PROBLEMS:
            problems.append((index, event.detail))
        events.append(event)
    return Body(events, problems, len(events) - len(problems))


def _documents(body: bytes, reader: DocumentReader) -> Iterator[tuple[object, bool]]:
    """Yield the documents of a body, each with whether characters of it were replaced."""
    whole = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not whole:
        raise BodyError(400, "the body is empty")
    try:
        found, was_cleaned = reader.parsed(whole)
    except ValueError:
        lines = [line for line in whole.split(b"\n") if line.strip()]
        if len(lines) == 1:
            raise BodyError(400, "the body is neither JSON in UTF-8 nor JSON lines") from None
        yield from (_line(line, reader) for line in lines)
    else:
        yield from ((one, was_cleaned) for one in (found if isinstance(found, list) else [found]))


def _line(line: bytes, reader: DocumentReader) -> tuple[object, bool]:
    try:
        return reader.parsed(line)
    except ValueError:
        return SourceSkipped(reason=SkipReason.UNREADABLE, detail="the line is not JSON in UTF-8"), False


def _hash(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]
