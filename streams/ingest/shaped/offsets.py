"""The cursor of a Kafka topic: the next offset of each partition. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from connectors.errors import RejectedError

_VERSION: Final = 1
_NEVER: Final = 0


class Place(NamedTuple):
    """Where a partition was read up to: the offset of the next record, and the time of the last one in ms since 1970.

    The time is 0 if it is not known.
    """

    offset: int
    time_ms: int = _NEVER

    @property
    def time(self) -> datetime | None:
        """The time of the last record; None if it is not known."""
        return datetime.fromtimestamp(self.time_ms / 1_000, UTC) if self.time_ms else None


@dataclass(frozen=True)
class TopicPlaces:
    """What a cursor tells.

    Attributes:
        topic: the topic.
        topic_id: the id that Kafka gave the topic; None if it was not known.
        places: the place of each partition that was read.
    """

    topic: str
    topic_id: str | None
    places: Mapping[int, Place]

    def check(self, topic: str, topic_id: str | None) -> None:
        """Check that the cursor belongs to a topic.

        Raises:
            RejectedError: It is that of another topic, or the topic was deleted and made again.
        """
        if self.topic != topic:
            raise RejectedError(f"the position is one of the topic {self.topic}, and not of {topic}; {_OTHERWISE}")
        if self.topic_id is not None and topic_id is not None and self.topic_id != topic_id:
            raise RejectedError(f"the topic {topic} was deleted and made again since it was read; {_OTHERWISE}")


_OTHERWISE: Final = "give the source another name with --instance, or begin with new records with --from-now"


class TopicCursor:
    """Writes cursors. The text of a partition is made again only when its place changes."""

    def __init__(self, topic: str, topic_id: str | None, places: Mapping[int, Place]) -> None:
        """Begin with the places of partitions."""
        self._head = f'{{"v":{_VERSION},"topic":{json.dumps(topic)},"id":{json.dumps(topic_id)},"next":{{'
        self._places = dict(places)
        self._parts = {partition: _part(partition, place) for partition, place in sorted(places.items())}

    def place(self, partition: int) -> Place | None:
        """Returns the place of a partition; None if it was never read."""
        return self._places.get(partition)

    def set(self, partition: int, place: Place) -> str:
        """Move a partition, and return the cursor."""
        self._places[partition] = place
        self._parts[partition] = _part(partition, place)
        return self.text

    @property
    def text(self) -> str:
        """The cursor."""
        return f"{self._head}{','.join(self._parts.values())}}}}}"


def read_cursor(cursor: str) -> TopicPlaces:
    """Returns what a cursor tells.

    Raises:
        RejectedError: The text is no cursor of a topic.
    """
    try:
        found: Any = json.loads(cursor)
        if found["v"] != _VERSION:
            raise RejectedError(f"the cursor of kafka has version {found['v']!r}; this program reads {_VERSION}")
        topic, topic_id = found["topic"], found["id"]
        places = {int(partition): Place(*map(_whole, place)) for partition, place in found["next"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RejectedError("the cursor is not one of kafka") from exc
    if not isinstance(topic, str) or not isinstance(topic_id, str | None):
        raise RejectedError("the cursor is not one of kafka")
    return TopicPlaces(topic, topic_id, places)


def _part(partition: int, place: Place) -> str:
    return f'"{partition}":[{place.offset},{place.time_ms}]'


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("is no offset and no time")
    return value
