"""The records of posts: raw, classified, dead and late. Pure."""

from __future__ import annotations

import base64
from datetime import UTC
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from streams.records.base import Record
from streams.records.values import MAX_ID_CHARS, Keywords, Offset, Probability
from streams.timestamps import Timestamp


class Post(Record, frozen=True, omit_defaults=True):
    """A raw post (`posts.raw`, key = id)."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
    text: str
    created_at: Timestamp
    source: Annotated[str, Meta(min_length=1, max_length=200)]
    keywords: Keywords = Keywords()
    lang: Annotated[str, Meta(max_length=35)] | None = None
    author: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None
    url: Annotated[str, Meta(max_length=4096)] | None = None

    def __post_init__(self) -> None:
        """Refuse U+0000, which PostgreSQL's text cannot hold: such a post could never reach the history."""
        texts = (self.text, self.id, self.source, self.lang or "", self.author or "", self.url or "", *self.keywords)
        for text in texts:
            if "\0" in text:
                raise ValueError(f"{self._with_nul()}: holds a NUL character (U+0000)")

    def _with_nul(self) -> str:
        """The name of the first field that holds U+0000."""
        texts = {"text": self.text, "id": self.id, "source": self.source, "keywords": "".join(self.keywords)}
        texts |= {"lang": self.lang or "", "author": self.author or "", "url": self.url or ""}
        return next(name for name, text in texts.items() if "\0" in text)


class Origin(Record, frozen=True):
    """Where a record came from: the raw topic, its partition, and the offset in it."""

    topic: str
    partition: Offset
    offset: Offset


class OriginOnly(Record, frozen=True):
    """The origin of any record that was made from a raw post; the other fields are not read."""

    origin: Origin


class ModelRef(Record, frozen=True):
    """The model that answered. `tier` is the tier of its cascade that did, `full` for a model without a cascade."""

    name: str
    version: str
    tier: str = "full"


class Sentiment(Record, frozen=True):
    """Sentiment of one post: `score` is the mean of the labels' values under their probabilities, in -1..1.

    For negative, neutral and positive, worth -1, 0 and 1, that is p(positive) - p(negative).
    """

    label: str
    score: Annotated[float, Meta(ge=-1.0, le=1.0)]


class ClassifiedPost(Record, frozen=True, kw_only=True):
    """A classified post (`posts.classified`, key = id, same partition number as its raw post).

    `confidence` is `scores[label]`; `scores` has one probability per label of the model. `sentiment` is null if the
    model has no such head, `text` if KEEP_TEXT is off.
    """

    id: str
    source: str
    keywords: tuple[str, ...]
    created_at: Timestamp
    text: str | None = None
    lang: str | None = None
    author: str | None = None
    url: str | None = None
    label: str
    confidence: Probability
    scores: dict[str, Probability]
    sentiment: Sentiment | None = None
    model: ModelRef
    origin: Origin
    classified_at: Timestamp


class DeadReason(StrEnum):
    """Why a post is a dead letter."""

    EMPTY_MESSAGE = "empty_message"
    INVALID_JSON = "invalid_json"
    INVALID_RECORD = "invalid_record"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    FUTURE_TIMESTAMP = "future_timestamp"
    CLASSIFICATION_FAILED = "classification_failed"
    NOT_STORABLE = "not_storable"


MAX_RAW_BYTES = 1_048_576
MAX_KEY_BYTES = 4_096


class DeadPost(Record, frozen=True, kw_only=True):
    """A dead letter (`posts.dead`): the raw bytes (base64), why it failed, and where it was.

    `raw` holds the first `MAX_RAW_BYTES` of the message. That is all of it unless the message was compressed, because
    Kafka limits the bytes that it stores. `raw_bytes` is the length of the whole message.
    """

    reason: DeadReason
    error: str
    raw: str
    raw_bytes: int
    key: str | None
    origin: Origin
    failed_at: Timestamp

    @classmethod
    def of(cls, raw: bytes | None, key: bytes | None, origin: Origin, reason: DeadReason, error: str) -> DeadPost:
        """The dead letter of a message that has just failed."""
        return cls(
            reason=reason,
            error=error,
            raw=base64.b64encode((raw or b"")[:MAX_RAW_BYTES]).decode("ascii"),
            raw_bytes=len(raw or b""),
            key=key[:MAX_KEY_BYTES].decode("utf-8", "replace") if key is not None else None,
            origin=origin,
            failed_at=Timestamp.now(UTC),
        )


class LatePost(Record, frozen=True, kw_only=True):
    """Note of a post that came after its window had left the retention (`posts.late`). The post is classified as usual.

    `size` and `start` name the window that the post missed. `latest_event_time` is the latest event time that the
    post's partition had shown before.
    """

    id: str
    created_at: Timestamp
    size: int
    start: Timestamp
    latest_event_time: Timestamp
    origin: Origin
