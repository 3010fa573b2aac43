"""The records of posts: raw, classified, dead and late. Pure."""

from __future__ import annotations

import base64
from datetime import UTC
from enum import StrEnum
from typing import Annotated, Self

from msgspec import Meta

from streams.records.base import Record, RecordError, members, parse, rename
from streams.records.values import (
    MAX_ID_CHARS,
    MAX_LANG_CHARS,
    MAX_SOURCE_CHARS,
    MAX_URL_CHARS,
    NO_NUL,
    Count,
    Keywords,
    Offset,
    Probability,
)
from streams.timestamps import Timestamp

_TIME = r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:[0-5]\d)"
_FROM_1970 = {"pattern": rf"^(19[7-9]\d|[2-9]\d{{3}})-\d\d-\d\d{_TIME}$"}
"""The part of a JSON Schema for times that `Timestamp.parse` accepts: no leap second, and no year before 1970."""


class Post(Record, frozen=True, omit_defaults=True):
    """A raw post (`posts.raw`, key = id). `truncated` says that a source has cut the text, because it was too long."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS, extra_json_schema=NO_NUL)]
    text: Annotated[str, Meta(extra_json_schema=NO_NUL)]
    created_at: Annotated[Timestamp, Meta(extra_json_schema=_FROM_1970)]
    source: Annotated[str, Meta(min_length=1, max_length=MAX_SOURCE_CHARS, extra_json_schema=NO_NUL)]
    keywords: Keywords = Keywords()
    lang: Annotated[str, Meta(max_length=MAX_LANG_CHARS, extra_json_schema=NO_NUL)] | None = None
    author: Annotated[str, Meta(max_length=MAX_ID_CHARS, extra_json_schema=NO_NUL)] | None = None
    url: Annotated[str, Meta(max_length=MAX_URL_CHARS, extra_json_schema=NO_NUL)] | None = None
    truncated: bool = False

    def __post_init__(self) -> None:
        """Refuse U+0000, which PostgreSQL cannot store in text.

        Raises:
            ValueError: A field holds U+0000.
        """
        texts = (self.text, self.id, self.source, self.lang or "", self.author or "", self.url or "", *self.keywords)
        for text in texts:
            if "\0" in text:
                raise ValueError(f"{self._with_nul()}: holds a NUL character (U+0000)")

    def _with_nul(self) -> str:
        """Returns the name of the first field that holds U+0000."""
        texts = {"text": self.text, "id": self.id, "source": self.source, "keywords": "".join(self.keywords)}
        texts |= {"lang": self.lang or "", "author": self.author or "", "url": self.url or ""}
        return next(name for name, text in texts.items() if "\0" in text)


class Origin(Record, frozen=True):
    """The raw post that a record was made from: the raw topic, the partition, and the offset."""

    topic: str
    partition: Offset
    offset: Offset


class OriginOnly(Record, frozen=True):
    """The origin of any record that was made from a raw post. Reading it skips the record's other fields.

    `last_offset` is set in the dead letter of an unreadable batch only; see `DeadPost`.
    """

    origin: Origin
    last_offset: Offset | None = None

    @classmethod
    def find(cls, value: bytes | None) -> Self | None:
        """Returns the origin of a record; None if the record was not made from a raw post."""
        try:
            return cls.from_json(value)
        except RecordError:
            return None


class ModelRef(Record, frozen=True):
    """The model that classified a post.

    A model may have several tiers: a cheap one answers the easy texts, and the next one answers the others. `tier`
    names the tier that answered; `full` if the model has only one; `unsupported` if no model reads the post's language.
    """

    name: str
    version: str
    tier: str = "full"


class Sentiment(Record, frozen=True):
    """The sentiment of one post. `score` is the mean of the labels' values, weighted by their probabilities, in -1..1.

    For the labels negative, neutral and positive with the values -1, 0 and 1, it is p(positive) - p(negative).
    """

    label: str
    score: Annotated[float, Meta(ge=-1.0, le=1.0)]


class ClassifiedPost(Record, frozen=True, kw_only=True):
    """A classified post (`posts.classified`, key = id, same partition number as its raw post).

    `scores` has one probability per label of the model; `confidence` is `scores[label]`. `sentiment` is null if the
    model has no sentiment head. `text` is null if `EMOSTREAM_KEEP_TEXT` is off. `truncated` says that the text was cut
    before it was classified.

    `lang` is the language subtag of BCP 47: the one that the source stated, unless the text contradicts it, or the one
    that the text shows. It is `und` if the text does not tell it, and `mis` if it is none that can be named.
    `lang_confidence`, from 0 to 1, is how clearly the text shows it. Posts that version 0.1 classified have the
    language that the source stated or null, and no `lang_confidence`.

    A post is unsupported if no model reads its language. Then `label`, `confidence` and `sentiment` are null, `scores`
    is empty, and `model` is the main model, with the tier `unsupported`.
    """

    id: str
    source: str
    keywords: tuple[str, ...]
    created_at: Timestamp
    text: str | None = None
    lang: str | None = None
    lang_confidence: Probability | None = None
    author: str | None = None
    url: str | None = None
    label: str | None
    confidence: Probability | None
    scores: dict[str, Probability]
    sentiment: Sentiment | None = None
    model: ModelRef
    origin: Origin
    classified_at: Timestamp
    truncated: bool = False

    @classmethod
    def from_partition(cls, value: bytes | None, raw_topic: str, partition: int) -> Self:
        """Decode a record of the classified topic, whose posts have the partition number of their raw posts.

        Raises:
            RecordError: The value is no classified post, or its origin is not in this partition of `raw_topic`.
        """
        post = cls.from_json(value)
        if post.origin.topic != raw_topic or post.origin.partition != partition:
            raise RecordError(f"its origin is not in partition {partition} of {raw_topic}")
        return post


class DeadReason(StrEnum):
    """Why a message became a dead letter."""

    EMPTY_MESSAGE = "empty_message"
    INVALID_JSON = "invalid_json"
    INVALID_RECORD = "invalid_record"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    FUTURE_TIMESTAMP = "future_timestamp"
    CLASSIFICATION_FAILED = "classification_failed"
    NOT_STORABLE = "not_storable"
    RECORD_TOO_LONG = "record_too_long"
    UNREADABLE_BATCH = "unreadable_batch"


MAX_RAW_BYTES = 1_048_576
"""The most bytes of a message's value, and of its key, that its dead letter holds."""

MAX_TOO_LONG_BYTES = 16_384
"""The most bytes that it holds of a message that is too long. They tell what the message is."""

_KEY_TEXT_BYTES = 4_096
"""The most bytes of a message's key that its dead letter shows as text."""


class DeadPost(Record, frozen=True, kw_only=True):
    """A dead letter (`posts.dead`): the message's value and key in base64, why it failed, and where it was.

    `raw` holds the first 1,048,576 bytes of the value, and `raw_key` those of the key; if the reason is
    `record_too_long`, the first 16,384 bytes. `raw_bytes` and `raw_key_bytes` are the complete lengths.

    `key` shows the key as text, for people: its first 4,096 bytes, in which U+FFFD stands for what is not UTF-8. It is
    null if the message has no key. `raw_key` is null then too, and in letters that version 0.1 wrote.

    A batch of messages that cannot be read has one dead letter, without bytes: `origin` names its first message, and
    `last_offset` the offset of its last one. Otherwise `last_offset` is null.
    """

    reason: DeadReason
    error: str
    raw: str
    raw_bytes: Count
    key: str | None
    raw_key: str | None = None
    raw_key_bytes: Count = 0
    origin: Origin
    last_offset: Offset | None = None
    failed_at: Timestamp

    @classmethod
    def of(cls, raw: bytes | None, key: bytes | None, origin: Origin, reason: DeadReason, error: str) -> DeadPost:
        """Returns the dead letter of a message; `failed_at` is the current time."""
        most = MAX_TOO_LONG_BYTES if reason is DeadReason.RECORD_TOO_LONG else MAX_RAW_BYTES
        return cls(
            reason=reason,
            error=error,
            raw=_base64(raw or b"", most),
            raw_bytes=len(raw or b""),
            key=key[:_KEY_TEXT_BYTES].decode("utf-8", "replace") if key is not None else None,
            raw_key=_base64(key, most) if key is not None else None,
            raw_key_bytes=len(key or b""),
            origin=origin,
            failed_at=Timestamp.now(UTC),
        )

    def key_bytes(self) -> bytes | None:
        """Returns the bytes of the message's key that the letter holds; None if the message has no key."""
        if self.raw_key is not None:
            return base64.b64decode(self.raw_key)
        return self.key.encode() if self.key is not None else None


def _base64(data: bytes, most: int) -> str:
    return base64.b64encode(data[:most]).decode("ascii")


class LatePost(Record, frozen=True, kw_only=True):
    """A post that came after its window had left the retention (`posts.late`).

    The post is classified, but this window does not count it. `size` (in seconds) and `start` name the window.
    `latest_event_time` is the latest event time among the earlier posts of the same partition.
    """

    id: str
    created_at: Timestamp
    size: Count
    start: Timestamp
    latest_event_time: Timestamp
    origin: Origin

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Decode and check a late post; see `Record.from_json`. This also reads those that version 0.1 wrote."""
        if b'"watermark"' not in (value or b""):
            return super().from_json(value)
        late = members(parse(value))
        rename(late, "watermark", "latest_event_time")
        return cls.from_fields(late)
