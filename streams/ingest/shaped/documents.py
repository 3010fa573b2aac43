"""Reads JSON documents of a shape that the operator names: a JSON document -> an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from pydantic_core import from_json

from connectors.sources.events import SourceDeletion, SourceEvent, SourcePost
from connectors.sources.shapes.mapping import FieldMap
from connectors.sources.shapes.registry import Shape
from connectors.sources.shapes.values import unreadable
from streams.characters import cleaned_json


@dataclass(frozen=True)
class DocumentReader:
    """How to read JSON documents.

    Attributes:
        instance: the instance of the source. Its name is the beginning of every id, because two topics, or the
            exports of two programs, may have the same ids.
        mapping: where the fields are that are not in the member of their own name.
        shape: the shape of the documents, instead of a mapping; None if they have none.
        zone: the zone of times that state none; None to refuse them.
        clean: whether U+0000 and lone surrogates become U+FFFD.
    """

    instance: str
    mapping: FieldMap
    shape: Shape | None = None
    zone: tzinfo | None = None
    clean: bool = True

    def parsed(self, value: bytes) -> tuple[object, bool]:
        """Returns the JSON of a value, and whether characters of it were replaced.

        Raises:
            ValueError: The value is not JSON in UTF-8.
        """
        whole = cleaned_json(value) if self.clean else value
        return from_json(whole, allow_inf_nan=False), whole != value

    def event_of(
        self, document: object, *, default_id: str, received_at: datetime, was_cleaned: bool = False
    ) -> SourceEvent:
        """Returns the event of a parsed document; `SourceSkipped` with the reason if it is none.

        Args:
            document: the parsed JSON.
            default_id: the id of a post that has none; the same whenever the document is read.
            received_at: when the document was received, aware. A post is not later than that, and has this time if
                its document has none.
            was_cleaned: whether characters of it were replaced.
        """
        if not isinstance(document, Mapping):
            return unreadable("it is not a JSON object")
        event = self._event(document, default_id, received_at)
        if was_cleaned and isinstance(event, SourcePost):
            event = replace(event, cleaned=True)
        return named(event, self.instance)

    def _event(self, document: Mapping[str, Any], default_id: str, received_at: datetime) -> SourceEvent:
        if self.shape is not None:
            return self.shape.event_of(document, received_at=received_at)
        return self.mapping.event_of(document, default_id=default_id, zone=self.zone, received_at=received_at)

    def event(self, value: bytes, *, default_id: str, received_at: datetime) -> SourceEvent:
        """Returns the event of a value; `SourceSkipped` with the reason if it is none. See `event_of`."""
        try:
            document, was_cleaned = self.parsed(value)
        except ValueError:
            return unreadable("it is not JSON in UTF-8")
        return self.event_of(document, default_id=default_id, received_at=received_at, was_cleaned=was_cleaned)


def named(event: SourceEvent, instance: str) -> SourceEvent:
    """Returns an event whose id begins with the name of the instance: `<instance>:<id>`."""
    if isinstance(event, SourcePost):
        return replace(event, id=f"{instance}:{event.id}")
    if isinstance(event, SourceDeletion) and event.id is not None:
        return replace(event, id=f"{instance}:{event.id}")
    return event
