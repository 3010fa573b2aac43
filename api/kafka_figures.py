"""Reads from Kafka how many posts come, and how many wait. Blocking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from api.models.status import DeadLetters, PostFigures, WorkerLag
from connectors.deadline import Deadline
from connectors.errors import ConnectorError
from connectors.kafka.offsets import OffsetReader
from streams.connections import kafka_config
from streams.errors import ShuttingDownError
from streams.records import ClassifiedPost, RecordError
from streams.redact import redact
from streams.settings import Settings

T = TypeVar("T")

OVER_S = 10.0
"""Seconds that the rates are about."""

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class KafkaFigures:
    """What Kafka tells.

    Attributes:
        posts: the rates, and the newest posts.
        lag: the lag of the worker.
        dead: the dead letters.
        ends: by topic of the sink and by partition, the offset of the next record.
        ends_problem: why there are none; None if there are.
    """

    posts: PostFigures
    lag: WorkerLag
    dead: DeadLetters
    ends: Mapping[str, Mapping[int, int]]
    ends_problem: str | None


class KafkaFiguresReader:
    """Reads the figures. The connections are made with the first call. Threads may share it."""

    def __init__(self, settings: Settings, *, within_s: float) -> None:
        """Prepare the reader. `within_s` are the seconds that all requests of a call have together."""
        self._settings = settings
        self._within_s = within_s
        self._stages: _Stages | None = None
        self._using = threading.Lock()
        self._closed = False

    def read(self) -> KafkaFigures:
        """Returns the figures. A figure that Kafka does not tell has a problem.

        Raises:
            ShuttingDownError: The reader is closed.
        """
        with self._using:
            return self._read()

    def _read(self) -> KafkaFigures:
        if self._closed:
            raise ShuttingDownError("the service is stopping")
        if self._stages is None:
            self._stages = _Stages(self._settings)
        call = _Call(self._settings, self._stages, Deadline(self._within_s))
        ends, ends_problem = _tried(call.ends)
        posts, posts_problem = _tried(call.posts)
        lag, lag_problem = _tried(call.lag)
        dead, dead_problem = _tried(call.dead)
        return KafkaFigures(
            posts or PostFigures(over_s=OVER_S, problem=posts_problem),
            lag or WorkerLag(problem=lag_problem),
            dead or DeadLetters(problem=dead_problem),
            ends or {},
            ends_problem,
        )

    def close(self) -> None:
        """Close the connection, after a call that is under way."""
        with self._using:
            self._closed = True
            if self._stages is not None:
                self._stages.classify.close()
                self._stages.aggregate.close()


def _tried(read: Callable[[], T]) -> tuple[T | None, str | None]:
    try:
        return read(), None
    except ConnectorError as exc:
        return None, redact(str(exc))


class _Stages:
    """A reader for the group of each stage. It reads the committed offsets, and joins no group."""

    def __init__(self, settings: Settings) -> None:
        kafka, prefix = kafka_config(settings), settings.group_prefix
        self.classify = OffsetReader(kafka, group=f"{prefix}-classify")
        self.aggregate = OffsetReader(kafka, group=f"{prefix}-aggregate")


class _Call:
    """One reading of the figures, whose requests share a deadline."""

    def __init__(self, settings: Settings, stages: _Stages, deadline: Deadline) -> None:
        self._settings = settings
        self._stages = stages
        self._offsets = stages.classify
        self._deadline = deadline
        self._partitions = range(settings.partitions)
        self._next_raw: dict[int, int] = {}
        """By partition, the raw offset after the one of the last classified post."""

    def ends(self) -> dict[str, dict[int, int]]:
        """Returns by topic of the sink and by partition the offset of the next record."""
        topics = self._settings.topic_classified, self._settings.topic_windows
        return {topic: self._ends(topic) for topic in topics}

    def posts(self) -> PostFigures:
        raw, classified = self._settings.topic_raw, self._settings.topic_classified
        newest = self._newest()
        last = max(newest, key=lambda post: post.classified_at, default=None)
        return PostFigures(
            received_per_second=self._since(raw, OVER_S) / OVER_S,
            per_second=self._since(classified, OVER_S) / OVER_S,
            over_s=OVER_S,
            newest_event=max((post.created_at for post in newest), default=None),
            newest_classified=None if last is None else last.classified_at,
            delay_s=None if last is None else (last.classified_at - last.created_at).total_seconds(),
        )

    def lag(self) -> WorkerLag:
        raw, classified = self._settings.topic_raw, self._settings.topic_classified
        return WorkerLag(
            classify=self._waiting(self._stages.classify, raw, self._next_raw),
            aggregate=self._waiting(self._stages.aggregate, classified, {}),
        )

    def dead(self) -> DeadLetters:
        topic = self._settings.topic_dead
        low, high = self._offsets.all_bounds(topic, [0], self._deadline)[0]
        first = self._offsets.all_offsets_at(topic, [0], _ago_ms(HOUR_MS), self._deadline)[0]
        return DeadLetters(total=high - low, last_hour=0 if first is None else max(0, high - first))

    def _newest(self) -> list[ClassifiedPost]:
        """Returns the last classified post of each partition, and keeps the raw offsets after them."""
        found = []
        messages = self._offsets.last_messages(self._settings.topic_classified, self._partitions, self._deadline)
        for partition, message in messages.items():
            with suppress(RecordError):  # the aggregate stage makes it a dead letter
                post = ClassifiedPost.from_partition(message.value(), self._settings.topic_raw, partition)
                self._next_raw[partition] = post.origin.offset + 1
                found.append(post)
        return found

    def _ends(self, topic: str) -> dict[int, int]:
        bounds = self._offsets.all_bounds(topic, self._partitions, self._deadline)
        return {partition: high for partition, (_, high) in bounds.items()}

    def _since(self, topic: str, seconds: float) -> int:
        """Returns the number of records of the last seconds."""
        first = self._offsets.all_offsets_at(topic, self._partitions, _ago_ms(int(seconds * 1_000)), self._deadline)
        ends = self._ends(topic)
        return sum(max(0, ends[partition] - offset) for partition, offset in first.items() if offset is not None)

    def _waiting(self, stage: OffsetReader, topic: str, at_least: Mapping[int, int]) -> int:
        """Returns the records that a stage has not finished; `at_least` has positions that are known otherwise."""
        committed = stage.committed(topic, self._partitions, self._deadline)
        bounds = self._offsets.all_bounds(topic, self._partitions, self._deadline)
        return sum(
            max(0, high - max(low, committed.get(partition, 0), at_least.get(partition, 0)))
            for partition, (low, high) in bounds.items()
        )


def _ago_ms(milliseconds: int) -> int:
    return int(time.time() * 1_000) - milliseconds
