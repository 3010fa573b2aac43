"""A TopicSink with a fake consumer, producer, database and gate, for tests of how slices are written."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Message

from connectors.errors import InvalidDataError
from connectors.kafka.batch import Batch, UnreadableBatch
from connectors.kafka.producer import Outgoing
from streams.gate.cpu_aware import OpenGate
from streams.sink.backlog import PartitionBacklog
from streams.sink.ledger import Span
from streams.sink.metrics import SinkMetrics
from streams.sink.rows import PostRow
from streams.sink.targets import Target, posts_of
from streams.sink.topic_sink import TopicSink
from tests.helpers import classified, make_settings, message


class FakeConsumer:
    """Returns `batches` one by one; a rewind makes those that were returned stale."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.batches: list[Batch] = []
        self.epoch = 1
        self.is_paused = False

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def poll(self, most: int, timeout_s: float) -> Batch | None:
        return self.batches.pop(0) if self.batches else None

    def is_current(self, batch: Batch) -> bool:
        return batch.epoch == self.epoch

    def done(self, batch: Batch) -> None:
        self.calls.append(("done", batch))

    def rewind(self, reason: str) -> None:
        self.calls.append(("rewind", reason))
        self.epoch += 1


class FakeProducer:
    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.error: Exception | None = None

    def submit(self, records: Sequence[Outgoing]) -> Future[None]:
        self.sent += records
        future: Future[None] = Future()
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(None)
        return future


class FakeHistory:
    """Each write raises the next error of `fails`, if there is one. A write with a row of `poison` is rejected."""

    def __init__(self) -> None:
        self.unreadable: list[UnreadableBatch] = []
        self.written: list[tuple[str, list[int], list[Span]]] = []
        self.fails: list[Exception] = []
        self.poison: set[int] = set()
        self.next_offsets: dict[int, int] = {}
        self.away: Exception | None = None
        self.begun = threading.Semaphore(0)
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, topic: str, target: Target[PostRow], rows: Sequence[PostRow], spans: Sequence[Span]) -> None:
        self.begun.release()
        assert self.may_write.wait(60)
        if self.fails:
            raise self.fails.pop(0)
        if any(row.origin_offset in self.poison for row in rows):
            raise InvalidDataError("a value is too long")
        self.written.append((topic, [row.origin_offset for row in rows], list(spans)))

    def record_unreadable(self, topic: str, batches: Iterable[UnreadableBatch]) -> None:
        assert not self.written, "the gap is recorded before the offsets pass it"
        self.unreadable += batches

    def offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        if self.away is not None:
            raise self.away
        return self.next_offsets


class FakeBacklog:
    """Seven records wait in every partition."""

    def read(self, next_offsets: Mapping[int, int]) -> list[PartitionBacklog]:
        return [PartitionBacklog(partition, offset, offset + 7, 1_000) for partition, offset in next_offsets.items()]


class FakeGate(OpenGate):
    open = True

    def is_open(self) -> bool:
        return self.open


class Harness:
    def __init__(self) -> None:
        self.gate = FakeGate()
        self.metrics = SinkMetrics()
        self.consumer: Any = FakeConsumer()
        self.producer: Any = FakeProducer()
        self.history: Any = FakeHistory()
        self.sink = TopicSink(
            make_settings(),
            "posts.classified",
            posts_of("posts.raw"),
            self.history,
            self.history,
            producer=self.producer,
            gate=self.gate,
            metrics=self.metrics,
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"emostream_{name}", labels)

    def flush(self, batch: Batch) -> None:
        stop = threading.Event()
        stop.set()  # do not wait between tries
        self.write(batch, stop)

    def write(self, batch: Batch, stop: threading.Event) -> None:
        self.sink._start_write(self.sink._decode(batch))
        self.sink._finish_write(self.consumer, stop)


def post(offset: int, partition: int = 0) -> Message:
    value = classified(offset * 10, partition=partition).to_json()
    return message(value, offset=offset, partition=partition, topic="posts.classified", key=b"key")


@pytest.fixture(name="harness")
def harness_fixture() -> Harness:
    return Harness()
