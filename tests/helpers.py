"""Helpers that several unit and property tests share: settings, records and messages, without a server."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from typing import Any, cast

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from connectors.errors import ConnectorError
from connectors.kafka.producer import Outgoing, WrittenOffsets
from streams.records import ClassifiedPost, ModelRef, Origin, Sentiment, Timestamp, from_ms
from streams.settings import Settings, load_settings
from streams.sink.rows import PostRow, post_row
from streams.windows.post import PostForCounting

NOON = Timestamp(2026, 3, 1, 12, 0, tzinfo=UTC)
NOON_MS = 1_772_366_400_000


def wait_for(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Wait until a condition holds, which another thread makes true. Fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Let the event loop run until a condition holds; fail after some seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


def make_settings(**overrides: Any) -> Settings:
    """Settings that depend on nothing outside the test."""
    return load_settings(env_file=None, environ={}, **overrides)


class FakeApp:
    """Notes the errors that would stop the worker."""

    def __init__(self) -> None:
        self.crashes: list[BaseException] = []

    async def crash(self, exc: BaseException) -> None:
        self.crashes.append(exc)


class FakeMessage:
    """A consumed message, with the methods that the application uses.

    `appended` is the broker's timestamp in milliseconds; None for a producer's timestamp of 0.
    """

    def __init__(
        self,
        value: bytes | None,
        *,
        offset: int | None = 0,
        partition: int = 0,
        topic: str = "posts.raw",
        key: bytes | None = None,
        error: KafkaError | None = None,
        appended: int | None = None,
    ) -> None:
        self._fields = (topic, partition, offset, key, value, error)
        self._timestamp = (TIMESTAMP_CREATE_TIME, 0) if appended is None else (TIMESTAMP_LOG_APPEND_TIME, appended)

    def __len__(self) -> int:
        return len(self.value() or b"")

    def timestamp(self) -> tuple[int, int]:
        return self._timestamp

    def topic(self) -> str:
        return self._fields[0]

    def partition(self) -> int:
        return self._fields[1]

    def offset(self) -> int | None:
        return self._fields[2]

    def key(self) -> bytes | None:
        return self._fields[3]

    def value(self) -> bytes | None:
        return self._fields[4]

    def error(self) -> KafkaError | None:
        return self._fields[5]


def message(value: bytes | None, **fields: Any) -> Message:
    return cast(Message, FakeMessage(value, **fields))


def record_batch(base: int, records: int) -> bytes:
    """Returns a batch of records as Kafka stores it; its first record has the offset `base`."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for delta in range(records):
        builder.append(delta, 0, None, b"x", [])
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def classified(
    origin: int,
    *,
    at: int = NOON_MS,
    partition: int = 0,
    keywords: Iterable[str] = (),
    label: str | None = "joy",
    confidence: float = 0.5,
    sentiment: Sentiment | None = None,
    source: str = "test",
    version: str = "1.0.0",
    lang: str | None = None,
) -> ClassifiedPost:
    """Make a classified post. `origin` is its offset in the raw topic, `at` its event time in milliseconds.

    Without a label it is unsupported. Without a language it is one of version 0.1.
    """
    return ClassifiedPost(
        id=f"{partition}-{origin}",
        source=source,
        keywords=tuple(keywords),
        created_at=from_ms(at),
        lang=lang,
        lang_confidence=None if lang is None else 0.5,
        label=label,
        confidence=None if label is None else confidence,
        scores={} if label is None else {label: confidence},
        sentiment=None if label is None else sentiment,
        model=ModelRef(name="tiny", version=version),
        origin=Origin(topic="posts.raw", partition=partition, offset=origin),
        classified_at=NOON,
    )


def row_of(post: ClassifiedPost) -> PostRow:
    """Returns a post as the sink reads it from its record."""
    return post_row(ClassifiedPost.from_json(post.to_json()))


def for_counting(post: ClassifiedPost) -> PostForCounting:
    """The part of a post that the windows count, read back from its record."""
    return PostForCounting.of(ClassifiedPost.from_json(post.to_json()))


class RecordingDeliverer:
    """Keeps the records of each call. It raises `error` for records of the topic `fails_on`.

    Attributes:
        calls: The records of each call.
        ends: The offset of the next record, by topic and partition. Records without a partition do not count.
    """

    def __init__(self, fails_on: str | None = None, error: Exception | None = None) -> None:
        self.calls: list[list[Outgoing]] = []
        self.ends: Counter[tuple[str, int]] = Counter()
        self._fails_on = fails_on
        self._error = error or ConnectorError("refused")

    async def deliver(self, records: Sequence[Outgoing]) -> WrittenOffsets:
        if self._fails_on is not None and any(record.topic == self._fails_on for record in records):
            raise self._error
        self.calls.append(list(records))
        given = Counter((record.topic, record.partition) for record in records if record.partition is not None)
        begins = {where: self.ends[where] for where in given}
        self.ends.update(given)
        return {where: range(begin, self.ends[where]) for where, begin in begins.items()}

    def to(self, topic: str) -> list[Outgoing]:
        """Returns all records that were written to a topic, in order."""
        return [record for call in self.calls for record in call if record.topic == topic]
