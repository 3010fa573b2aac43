"""What the windows need of a classified post, read from its record and no more of it than that. Pure.

A record is checked, but not made into a model: this runs for every post, and costs a quarter of what that would.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, NotRequired

from pydantic import AwareDatetime, TypeAdapter
from typing_extensions import TypedDict

from streams.records import Origin, OriginFields, Probability, SentimentFields, to_ms

MICRO = 1_000_000
"""Fixed-point unit of confidences and scores."""


class _Model(TypedDict):
    version: str


class _Record(TypedDict):
    id: str
    source: str
    keywords: list[str]
    created_at: AwareDatetime
    label: str
    confidence: Probability
    sentiment: NotRequired[SentimentFields | None]
    model: _Model
    origin: OriginFields


_RECORD: TypeAdapter[_Record] = TypeAdapter(_Record)


class CountedPost(NamedTuple):
    """A classified post as the windows see it.

    Attributes:
        id: of the post.
        source: of the post.
        keywords: of the post.
        event_ms: `created_at`, in milliseconds since 1970.
        label: the model's answer.
        confidence: in the answer, in millionths.
        sentiment: its label; None without one.
        score: of the sentiment, in millionths; 0 without one.
        version: of the model.
        origin: topic, partition and offset of the raw post.
    """

    id: str
    source: str
    keywords: list[str]
    event_ms: int
    label: str
    confidence: int
    sentiment: str | None
    score: int
    version: str
    origin: tuple[str, int, int]

    @property
    def raw(self) -> Origin:
        """`origin` as records have it."""
        topic, partition, offset = self.origin
        return Origin(topic=topic, partition=partition, offset=offset)


def read_counted(value: bytes) -> CountedPost:
    """Read the record of a classified post.

    Raises:
        pydantic.ValidationError: it is none.
    """
    record = _RECORD.validate_json(value)
    sentiment = record.get("sentiment")
    origin = record["origin"]
    created_at: datetime = record["created_at"]
    return CountedPost(
        record["id"],
        record["source"],
        record["keywords"],
        to_ms(created_at),
        record["label"],
        round(record["confidence"] * MICRO),
        None if sentiment is None else sentiment["label"],
        0 if sentiment is None else round(sentiment["score"] * MICRO),
        record["model"]["version"],
        (origin["topic"], origin["partition"], origin["offset"]),
    )
