"""How the sink copies batches, and what it does if a write fails. Postgres is in the integration tests."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from connectors.errors import InvalidDataError, PositionMismatchError, RejectedError, UnavailableError
from connectors.kafka.batch import Batch
from streams.records import DeadPost, DeadReason
from streams.sink import topic_sink as module
from streams.sink.ledger import Span
from tests.helpers import message, wait_for
from tests.topic_sink_bench import Bench, FakeBacklog, bench_fixture, post  # noqa: F401 - fixtures


def test_a_batch_is_written_with_the_ranges_it_covers(bench: Bench) -> None:
    batch = Batch(1, [post(12, 1), post(5), post(7), post(13, 1)], {0: 3, 1: 12})
    bench.flush(batch)
    # Offsets without a record belong to the range of the record that follows them.
    assert bench.history.written == [("posts.classified", [120, 50, 70, 130], [Span(0, 3, 8, 2), Span(1, 12, 14, 2)])]
    assert bench.consumer.calls == [("done", batch)]


@pytest.mark.parametrize("error", [PositionMismatchError("elsewhere"), UnavailableError("PostgreSQL is away")])
def test_after_a_transient_error_the_records_are_fetched_again(bench: Bench, error: Exception) -> None:
    bench.history.fails = [error]
    bench.flush(Batch(1, [post(0)], {0: 0}))
    assert bench.consumer.calls == [("rewind", str(error))]
    assert bench.history.written == []


def test_a_rejected_write_stops_the_sink(bench: Bench) -> None:
    bench.history.fails = [RejectedError("no")]
    with pytest.raises(RejectedError):
        bench.flush(Batch(1, [post(0)], {0: 0}))
    assert bench.consumer.calls == []


def test_the_waits_grow_while_postgres_does_not_answer_and_a_write_resets_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    stop: Any = type("Stop", (), {"wait": lambda self, seconds: waits.append(seconds)})()
    monkeypatch.setattr(module, "RETRY_S", (1.0, 2.0))
    bench.history.fails = [UnavailableError("away")] * 3
    for _ in range(4):
        bench.write(Batch(1, [post(0)], {0: 0}), stop)
    bench.history.fails = [UnavailableError("away")]
    bench.write(Batch(1, [post(1)], {0: 1}), stop)
    assert waits == [1.0, 2.0, 2.0, 1.0]


def test_a_slice_is_decoded_while_the_one_before_is_written(bench: Bench) -> None:
    stop = threading.Event()
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    bench.history.may_write.clear()
    bench.sink._copy_slice(bench.consumer, stop)
    assert bench.history.begun.acquire(timeout=60)

    second = threading.Thread(target=bench.sink._copy_slice, args=(bench.consumer, stop))
    second.start()
    wait_for(lambda: not bench.consumer.batches)
    assert bench.history.written == []
    assert not bench.history.begun.acquire(timeout=0.1), "one transaction at a time"
    bench.history.may_write.set()
    second.join(60)
    bench.sink._finish_write(bench.consumer, stop)
    assert [offsets for _, offsets, _ in bench.history.written] == [[0], [10]]


def test_a_slice_that_was_decoded_during_a_failed_write_is_dropped(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()  # do not wait between tries
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    bench.history.fails = [UnavailableError("away")]
    for _ in range(3):
        bench.sink._copy_slice(bench.consumer, stop)
    assert bench.history.written == []
    assert bench.consumer.calls == [("rewind", "away")]


def test_a_dead_letter_that_kafka_does_not_confirm_is_written_again(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()  # do not wait between tries
    bench.consumer.batches = [Batch(1, [message(b"{}", offset=0), post(1)], {0: 0})]
    bench.producer.error = UnavailableError("Kafka is away")
    bench.sink._copy_slice(bench.consumer, stop)
    assert bench.consumer.calls == [("rewind", "Kafka is away")]
    assert (bench.history.written, bench.sink.last_error) == ([], "Kafka is away")

    bench.producer.error = None
    bench.consumer.batches = [Batch(2, [message(b"{}", offset=0), post(1)], {0: 0})]
    for _ in range(2):
        bench.sink._copy_slice(bench.consumer, stop)
    assert bench.history.written == [("posts.classified", [10], [Span(0, 0, 2, 2)])]
    assert bench.sink.last_error is None


def test_a_decoded_slice_waits_for_the_gate(bench: Bench) -> None:
    """The gate may close while a slice is decoded."""
    stop = threading.Event()
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    bench.gate.open = False
    for _ in range(2):
        bench.sink._copy_slice(bench.consumer, stop)
    assert (bench.history.written, len(bench.consumer.batches)) == ([], 1)
    bench.gate.open = True
    for _ in range(2):
        bench.sink._copy_slice(bench.consumer, stop)
    bench.sink._finish_write(bench.consumer, stop)
    assert [offsets for _, offsets, _ in bench.history.written] == [[0], [10]]


def test_a_closed_gate_pauses_the_fetching_and_drops_what_was_fetched_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSED_POLL_S", 0)
    bench.consumer.batches = [Batch(1, [post(0)], {0: 0})]
    for _ in range(3):
        bench.sink._wait_closed(bench.consumer, threading.Event())
        assert bench.consumer.is_paused
    assert bench.consumer.calls == [("rewind", "a record arrived while the gate was closed")]
    bench.sink._copy_slice(bench.consumer, threading.Event())
    assert not bench.consumer.is_paused


def test_a_tombstone_has_no_row_and_belongs_to_the_range(bench: Bench) -> None:
    bench.flush(Batch(1, [message(None, offset=0), post(1)], {0: 0}))
    assert bench.history.written == [("posts.classified", [10], [Span(0, 0, 2, 2)])]


@pytest.mark.parametrize("value", [b"", b"not json", b"{}"])
def test_a_record_that_cannot_be_read_is_dead_lettered_and_belongs_to_the_range(bench: Bench, value: bytes) -> None:
    bench.flush(Batch(1, [message(value, offset=4, partition=1, topic="posts.classified"), post(5, 1)], {1: 4}))
    (record,) = bench.producer.sent
    letter = DeadPost.from_json(record.value)
    assert record.topic == "posts.dead"
    assert letter.reason is DeadReason.INVALID_RECORD
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("posts.classified", 1, 4)
    assert bench.history.written == [("posts.classified", [50], [Span(1, 4, 6, 2)])]


@pytest.mark.parametrize("poison", [{0}, {30}, {70}, {20, 30}, {0, 10, 20, 30, 40, 50, 60, 70}])
def test_rows_that_postgres_rejects_are_dead_lettered_and_the_rest_is_written(bench: Bench, poison: set[int]) -> None:
    bench.history.poison = poison
    batch = Batch(1, [post(offset, offset % 2) for offset in range(8)], {0: 0, 1: 1})
    bench.flush(batch)
    assert sorted(offset for _, offsets, _ in bench.history.written for offset in offsets) == sorted(
        {offset * 10 for offset in range(8)} - poison
    )
    letters = [DeadPost.from_json(record.value) for record in bench.producer.sent]
    assert {letter.origin.offset * 10 for letter in letters} == poison
    assert {letter.reason for letter in letters} == {DeadReason.NOT_STORABLE}
    assert bench.value("dead_letters_total", reason="not_storable") == len(poison)
    # Together the writes move each partition from its start to its end, without skipping an offset.
    for partition, start, end in ((0, 0, 7), (1, 1, 8)):
        spans = [span for _, _, spans in bench.history.written for span in spans if span.partition == partition]
        assert [span.start for span in spans] == [start, *(span.end for span in spans)][:-1]
        assert spans[-1].end == end
    assert bench.consumer.calls == [("done", batch)]


def test_a_rejection_without_rows_stops_the_sink(bench: Bench) -> None:
    bench.history.fails = [InvalidDataError("the ledger violates a constraint")]
    with pytest.raises(InvalidDataError):
        bench.flush(Batch(1, [message(None, offset=0)], {0: 0}))
    assert bench.producer.sent == []


def test_nothing_is_written_if_a_dead_letter_is_rejected(bench: Bench) -> None:
    bench.producer.error = RejectedError("no")
    with pytest.raises(RejectedError):
        bench.flush(Batch(1, [message(b"{}", offset=0), post(1)], {0: 0}))
    assert (bench.history.written, bench.consumer.calls) == ([], [])


def test_the_last_error_is_shown_until_a_write_or_a_read_of_the_backlog_succeeds(bench: Bench) -> None:
    bench.history.positions = {0: 1}
    bench.consumer.next_offsets = {0: 1}
    backlog: Any = FakeBacklog()

    for succeed in (
        lambda: bench.flush(Batch(1, [post(0)], {0: 0})),
        lambda: bench.sink._poll_backlog(bench.consumer, backlog, idle=True),
    ):
        bench.history.fails = [UnavailableError("PostgreSQL is away")]
        bench.flush(Batch(1, [post(0)], {0: 0}))
        assert bench.sink.last_error == "PostgreSQL is away"
        succeed()
        assert bench.sink.last_error is None

    bench.history.away = UnavailableError("still away")
    bench.sink._poll_backlog(bench.consumer, backlog, idle=True)
    assert bench.sink.last_error == "still away"
    assert bench.value("sink_backlog_failures_total") == 1


def test_a_partition_that_another_sink_has_taken_leaves_the_metrics(bench: Bench) -> None:
    backlog: Any = FakeBacklog()
    name = "emostream_sink_backlog_records"
    for assigned in ({0: 3, 1: 4}, {1: 4}, {}):
        bench.consumer.next_offsets = assigned
        bench.sink._poll_backlog(bench.consumer, backlog, idle=False)
        values = [
            bench.metrics.registry.get_sample_value(name, {"topic": "posts.classified", "partition": str(partition)})
            for partition in (0, 1)
        ]
        assert values == [7.0 if partition in assigned else None for partition in (0, 1)]
