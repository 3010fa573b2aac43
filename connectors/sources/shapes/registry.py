"""The shapes by their names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.sources.events import SourceEvent
from connectors.sources.shapes import jetstream, mastodon, pushshift, sentiment140, twitter


@dataclass(frozen=True)
class Shape:
    """How a network writes its posts.

    Attributes:
        event_of: a JSON object -> an event; or the cells of a row, if the shape is that of a table. It has a keyword
            argument `received_at`.
        is_table: whether the shape is that of a table.
        encoding: the encoding of lines that are not UTF-8; None if all lines are UTF-8.
    """

    event_of: Callable[..., SourceEvent]
    is_table: bool = False
    encoding: str | None = None

    def event(self, document: Mapping[str, Any] | list[str]) -> SourceEvent:
        """Returns the event of a JSON object or a row, read from a file."""
        return self.event_of(document)


SHAPES: Final[Mapping[str, Shape]] = {
    "twitter-v1": Shape(twitter.v1_event_of),
    "twitter-v2": Shape(twitter.v2_event_of),
    "pushshift": Shape(pushshift.event_of),
    "jetstream": Shape(jetstream.event_of),
    "mastodon": Shape(mastodon.status_of),
    "sentiment140": Shape(sentiment140.event_of, is_table=True, encoding="latin-1"),
}
