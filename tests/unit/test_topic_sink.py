"""What the sink makes of a batch, and of what befalls its write. The tables are in the integration tests."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Message

from connectors.errors import InvalidDataError, RejectedError, UnavailableError
from connectors.kafka.batch import Batch
from connectors.kafka.producer import Outgoing
from streams.records import DeadPost, DeadReason
from streams.sink import runner
from streams.sink import topic_sink as module
from streams.sink.backlog import PartitionBacklog
from streams.sink.gate.cpu_aware import OpenGate
from streams.sink.ledger import OffsetMoved, Span
from streams.sink.metrics import SinkMetrics
from streams.sink.rows import PostRow
from streams.sink.targets import POSTS, Target
from streams.sink.topic_sink import TopicSink
from tests.helpers import classified, make_settings, message, wait_for


class FakeConsumer:
    """Gives out `batches`; a rewind makes those that it has given out stale."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.batches: list[Batch] = []
        self.epoch = 1
        self.paused = False

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
    """Takes every write, but for those that are to fail and those with a poisonous row."""

    def __init__(self) -> None:
        self.written: list[tuple[str, list[int], list[Span]]] = []
        self.fails: list[Exception] = []
        self.poison: set[int] = set()
        self.stands: dict[int, int] = {}
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

    def offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        if self.away is not None:
            raise self.away
        return self.stands


class FakeBacklog:
    """Seven records wait in every partition."""

    def look(self, stands: Mapping[int, int]) -> list[PartitionBacklog]:
        return [PartitionBacklog(partition, stand, stand + 7, 1_000) for partition, stand in stands.items()]


class FakeGate(OpenGate):
    open = True

    def is_open(self) -> bool:
        return self.open


class Bench:
    def __init__(self) -> None:
        self.gate = FakeGate()
        self.metrics = SinkMetrics()
        self.consumer: Any = FakeConsumer()
        self.producer: Any = FakeProducer()
        self.history: Any = FakeHistory()
        self.sink = TopicSink(
            make_settings(),
            "posts.classified",
            POSTS,
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
        stop.set()  # no waiting between tries
        self.write(batch, stop)

    def write(self, batch: Batch, stop: threading.Event) -> None:
        self.sink._begin(self.sink._read(batch))
        self.sink._finish(self.consumer, stop)


def post(offset: int, partition: int = 0) -> Message:
    value = classified(offset * 10, partition=partition).model_dump_json().encode()
    return message(value, offset=offset, partition=partition, topic="posts.classified", key=b"key")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_batch_is_written_with_the_ranges_it_covers(bench: Bench) -> None:
    batch = Batch(1, [post(12, 1), post(5), post(7), post(13, 1)], {0: 3, 1: 12})
    bench.flush(batch)
    # Holes in the offsets belong to the range of the batch that follows them.
    assert bench.history.written == [("posts.classified", [120, 50, 70, 130], [Span(0, 3, 8, 2), Span(1, 12, 14, 2)])]
    assert bench.consumer.calls == [("done", batch)]


@pytest.mark.parametrize("error", [OffsetMoved("elsewhere"), UnavailableError("PostgreSQL is away")])
def test_what_may_pass_is_fetched_again(bench: Bench, error: Exception) -> None:
    bench.history.fails = [error]
    bench.flush(Batch(1, [post(0)], {0: 0}))
    assert bench.consumer.calls == [("rewind", str(error))]
    assert bench.history.written == []


def test_what_will_not_pass_stops_the_sink(bench: Bench) -> None:
    bench.history.fails = [RejectedError("no")]
    with pytest.raises(RejectedError):
        bench.flush(Batch(1, [post(0)], {0: 0}))
    assert bench.consumer.calls == []


def test_waits_grow_while_postgres_is_away_and_start_anew(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    stop: Any = type("Stop", (), {"wait": lambda self, seconds: waits.append(seconds)})()
    monkeypatch.setattr(module, "RETRY_S", (1.0, 2.0))
    bench.history.fails = [UnavailableError("away")] * 3
    for _ in range(4):
        bench.write(Batch(1, [post(0)], {0: 0}), stop)
    bench.history.fails = [UnavailableError("away")]
    bench.write(Batch(1, [post(1)], {0: 1}), stop)
    assert waits == [1.0, 2.0, 2.0, 1.0]


def test_a_slice_is_read_while_the_one_before_is_written(bench: Bench) -> None:
    stop = threading.Event()
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    bench.history.may_write.clear()
    bench.sink._copy(bench.consumer, stop)
    assert bench.history.begun.acquire(timeout=60)

    second = threading.Thread(target=bench.sink._copy, args=(bench.consumer, stop))
    second.start()
    wait_for(lambda: not bench.consumer.batches)
    assert bench.history.written == []
    assert not bench.history.begun.acquire(timeout=0.1), "one transaction at a time"
    bench.history.may_write.set()
    second.join(60)
    bench.sink._finish(bench.consumer, stop)
    assert [offsets for _, offsets, _ in bench.history.written] == [[0], [10]]


def test_what_was_read_after_a_slice_that_failed_is_forgotten(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()  # no waiting between tries
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    bench.history.fails = [UnavailableError("away")]
    for _ in range(3):
        bench.sink._copy(bench.consumer, stop)
    assert bench.history.written == []
    assert bench.consumer.calls == [("rewind", "away")]


def test_a_dead_letter_that_cannot_be_written_now_is_tried_again(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()  # no waiting between tries
    bench.consumer.batches = [Batch(1, [message(b"{}", offset=0), post(1)], {0: 0})]
    bench.producer.error = UnavailableError("Kafka is away")
    bench.sink._copy(bench.consumer, stop)
    assert bench.consumer.calls == [("rewind", "Kafka is away")]
    assert (bench.history.written, bench.sink.trouble) == ([], "Kafka is away")

    bench.producer.error = None
    bench.consumer.batches = [Batch(2, [message(b"{}", offset=0), post(1)], {0: 0})]
    for _ in range(2):
        bench.sink._copy(bench.consumer, stop)
    assert bench.history.written == [("posts.classified", [10], [Span(0, 0, 2, 2)])]
    assert bench.sink.trouble is None


def test_a_slice_that_was_read_waits_for_the_gate(bench: Bench) -> None:
    """It may close while a slice is read, which takes as long as one takes to be written."""
    stop = threading.Event()
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    bench.gate.open = False
    for _ in range(2):
        bench.sink._copy(bench.consumer, stop)
    assert (bench.history.written, len(bench.consumer.batches)) == ([], 1)
    bench.gate.open = True
    for _ in range(2):
        bench.sink._copy(bench.consumer, stop)
    bench.sink._finish(bench.consumer, stop)
    assert [offsets for _, offsets, _ in bench.history.written] == [[0], [10]]


def test_a_tombstone_is_passed_over_and_counted_in_the_range(bench: Bench) -> None:
    bench.flush(Batch(1, [message(None, offset=0), post(1)], {0: 0}))
    assert bench.history.written == [("posts.classified", [10], [Span(0, 0, 2, 2)])]


@pytest.mark.parametrize("value", [b"", b"not json", b"{}"])
def test_what_cannot_be_read_is_dead_lettered_and_passed(bench: Bench, value: bytes) -> None:
    bench.flush(Batch(1, [message(value, offset=4, partition=1, topic="posts.classified"), post(5, 1)], {1: 4}))
    (record,) = bench.producer.sent
    letter = DeadPost.model_validate_json(record.value)
    assert record.topic == "posts.dead"
    assert letter.reason is DeadReason.INVALID_RECORD
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("posts.classified", 1, 4)
    assert bench.history.written == [("posts.classified", [50], [Span(1, 4, 6, 2)])]


@pytest.mark.parametrize("poison", [{0}, {30}, {70}, {20, 30}, {0, 10, 20, 30, 40, 50, 60, 70}])
def test_what_postgres_does_not_take_is_dead_lettered_and_the_rest_goes_in(bench: Bench, poison: set[int]) -> None:
    bench.history.poison = poison
    batch = Batch(1, [post(offset, offset % 2) for offset in range(8)], {0: 0, 1: 1})
    bench.flush(batch)
    assert sorted(offset for _, offsets, _ in bench.history.written for offset in offsets) == sorted(
        {offset * 10 for offset in range(8)} - poison
    )
    letters = [DeadPost.model_validate_json(record.value) for record in bench.producer.sent]
    assert {letter.origin.offset * 10 for letter in letters} == poison
    assert {letter.reason for letter in letters} == {DeadReason.NOT_STORABLE}
    assert bench.value("dead_letters_total", reason="not_storable") == len(poison)
    # Together the writes move each partition from its start to its end, without a hole.
    for partition, start, end in ((0, 0, 7), (1, 1, 8)):
        spans = [span for _, _, spans in bench.history.written for span in spans if span.partition == partition]
        assert [span.start for span in spans] == [start, *(span.end for span in spans)][:-1]
        assert spans[-1].end == end
    assert bench.consumer.calls == [("done", batch)]


def test_a_refusal_that_is_no_records_fault_stops_the_sink(bench: Bench) -> None:
    bench.history.fails = [InvalidDataError("the ledger violates a constraint")]
    with pytest.raises(InvalidDataError):
        bench.flush(Batch(1, [message(None, offset=0)], {0: 0}))
    assert bench.producer.sent == []


def test_nothing_is_written_past_a_dead_letter_that_was_not_confirmed(bench: Bench) -> None:
    bench.producer.error = RejectedError("no")
    with pytest.raises(RejectedError):
        bench.flush(Batch(1, [message(b"{}", offset=0), post(1)], {0: 0}))
    assert (bench.history.written, bench.consumer.calls) == ([], [])


def test_trouble_is_told_until_a_write_or_a_look_succeeds(bench: Bench) -> None:
    bench.history.stands = {0: 1}
    bench.consumer.next_offsets = {0: 1}
    backlog: Any = FakeBacklog()

    for heal in (
        lambda: bench.flush(Batch(1, [post(0)], {0: 0})),
        lambda: bench.sink._look(bench.consumer, backlog, idle=True),
    ):
        bench.history.fails = [UnavailableError("PostgreSQL is away")]
        bench.flush(Batch(1, [post(0)], {0: 0}))
        assert bench.sink.trouble == "PostgreSQL is away"
        heal()
        assert bench.sink.trouble is None

    bench.history.away = UnavailableError("still away")
    bench.sink._look(bench.consumer, backlog, idle=True)
    assert bench.sink.trouble == "still away"
    assert bench.value("sink_backlog_failures_total") == 1


def test_what_another_sink_has_taken_is_told_by_that_one(bench: Bench) -> None:
    backlog: Any = FakeBacklog()
    name = "emostream_sink_backlog_records"
    for assigned in ({0: 3, 1: 4}, {1: 4}, {}):
        bench.consumer.next_offsets = assigned
        bench.sink._look(bench.consumer, backlog, idle=False)
        values = [
            bench.metrics.registry.get_sample_value(name, {"topic": "posts.classified", "partition": str(partition)})
            for partition in (0, 1)
        ]
        assert values == [7.0 if partition in assigned else None for partition in (0, 1)]


def test_the_first_thread_that_fails_stops_the_others_and_is_raised() -> None:
    stop = threading.Event()

    def fail(_: threading.Event) -> None:
        raise RejectedError("no")

    def wait(stopped: threading.Event) -> None:
        assert stopped.wait(60)

    with pytest.raises(RejectedError):
        runner._run_threads([wait, fail], stop)
    assert stop.is_set()


def test_threads_end_in_peace_when_they_are_stopped() -> None:
    stop = threading.Event()
    stop.set()
    runner._run_threads([lambda stopped: None, lambda stopped: None], stop)
