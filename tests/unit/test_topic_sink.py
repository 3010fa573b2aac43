"""How the sink copies batches, and what it does if a write fails. Postgres is in the integration tests."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from connectors.errors import InvalidDataError, PositionMismatchError, RejectedError, UnavailableError
from connectors.kafka.batch import Batch, UnreadableBatch
from streams.records import DeadPost, DeadReason
from streams.sink import topic_sink as module
from streams.sink.ledger import Span
from tests.helpers import classified, message, wait_for
from tests.topic_sink_harness import FakeBacklog, Harness, harness_fixture, post  # noqa: F401 - fixtures


def test_a_batch_is_written_with_the_ranges_it_covers(harness: Harness) -> None:
    batch = Batch(1, [post(12, 1), post(5), post(7), post(13, 1)], {0: 3, 1: 12})
    harness.flush(batch)
    # Offsets without a record belong to the range of the record that follows them.
    assert harness.history.written == [("posts.classified", [120, 50, 70, 130], [Span(0, 3, 8, 2), Span(1, 12, 14, 2)])]
    assert harness.consumer.calls == [("done", batch)]


def test_batches_that_cannot_be_read_are_dead_letters_and_gaps_and_the_offsets_pass_them(harness: Harness) -> None:
    """One lies between two records, one after the last record, and one in a partition without records."""
    unreadable = [
        UnreadableBatch("posts.classified", partition, first, end, "it is damaged")
        for partition, first, end in [(0, 4, 7), (0, 8, 20), (1, 12, 30)]
    ]
    batch = Batch(1, [post(3), post(7)], {0: 3, 1: 12}, unreadable=unreadable)
    harness.flush(batch)
    assert harness.history.unreadable == unreadable
    assert harness.history.written == [
        ("posts.classified", [30, 70], [Span(0, 3, 8, 2)]),
        ("posts.classified", [], [Span(0, 8, 20, 0), Span(1, 12, 30, 0)]),
    ]
    letters = [DeadPost.from_json(record.value) for record in harness.producer.sent]
    assert [(one.origin.partition, one.origin.offset, one.last_offset) for one in letters] == [
        (0, 4, 6),
        (0, 8, 19),
        (1, 12, 29),
    ]
    assert harness.value("unreadable_offsets_total", topic="posts.classified") == 3 + 12 + 18
    assert harness.consumer.calls == [("done", batch)]


def test_a_lookup_asks_for_the_bounds_of_all_partitions_at_once(harness: Harness) -> None:
    """A rebalance waits for the answer."""
    requests: list[list[int]] = []

    class Reader:
        def all_bounds(self, topic: str, partitions: list[int]) -> dict[int, tuple[int, int]]:
            requests.append(partitions)
            return dict.fromkeys(partitions, (0, 9))

    harness.history.start_offsets = lambda topic, bounds: (dict.fromkeys(bounds, 5), [])
    reader: Any = Reader()
    assert harness.sink._positions(reader, [0, 2]) == {0: 5, 2: 5}
    assert requests == [[0, 2]]


@pytest.mark.parametrize("error", [PositionMismatchError("elsewhere"), UnavailableError("PostgreSQL is away")])
def test_after_a_transient_error_the_records_are_fetched_again(harness: Harness, error: Exception) -> None:
    harness.history.fails = [error]
    harness.flush(Batch(1, [post(0)], {0: 0}))
    assert harness.consumer.calls == [("rewind", str(error))]
    assert harness.history.written == []


def test_a_rejected_write_stops_the_sink(harness: Harness) -> None:
    harness.history.fails = [RejectedError("no")]
    with pytest.raises(RejectedError):
        harness.flush(Batch(1, [post(0)], {0: 0}))
    assert harness.consumer.calls == []


def test_the_waits_grow_while_postgres_does_not_answer_and_a_write_resets_them(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    stop: Any = type("Stop", (), {"wait": lambda self, seconds: waits.append(seconds)})()
    monkeypatch.setattr(module, "RETRY_S", (1.0, 2.0))
    harness.history.fails = [UnavailableError("away")] * 3
    for _ in range(4):
        harness.write(Batch(1, [post(0)], {0: 0}), stop)
    harness.history.fails = [UnavailableError("away")]
    harness.write(Batch(1, [post(1)], {0: 1}), stop)
    assert waits == [1.0, 2.0, 2.0, 1.0]


def test_a_slice_is_decoded_while_the_one_before_is_written(harness: Harness) -> None:
    stop = threading.Event()
    harness.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    harness.history.may_write.clear()
    harness.sink._copy_slice(harness.consumer, stop)
    assert harness.history.begun.acquire(timeout=180)

    second = threading.Thread(target=harness.sink._copy_slice, args=(harness.consumer, stop))
    second.start()
    wait_for(lambda: not harness.consumer.batches)
    assert harness.history.written == []
    assert not harness.history.begun.acquire(timeout=0.1), "one transaction at a time"
    harness.history.may_write.set()
    second.join(60)
    harness.sink._finish_write(harness.consumer, stop)
    assert [offsets for _, offsets, _ in harness.history.written] == [[0], [10]]


def test_a_slice_that_was_decoded_during_a_failed_write_is_dropped(harness: Harness) -> None:
    stop = threading.Event()
    stop.set()  # do not wait between tries
    harness.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    harness.history.fails = [UnavailableError("away")]
    for _ in range(3):
        harness.sink._copy_slice(harness.consumer, stop)
    assert harness.history.written == []
    assert harness.consumer.calls == [("rewind", "away")]


def test_a_dead_letter_that_kafka_does_not_confirm_is_written_again(harness: Harness) -> None:
    stop = threading.Event()
    stop.set()  # do not wait between tries
    harness.consumer.batches = [Batch(1, [message(b"{}", offset=0), post(1)], {0: 0})]
    harness.producer.error = UnavailableError("Kafka is away")
    harness.sink._copy_slice(harness.consumer, stop)
    assert harness.consumer.calls == [("rewind", "Kafka is away")]
    assert (harness.history.written, harness.sink.last_error) == ([], "Kafka is away")

    harness.producer.error = None
    harness.consumer.batches = [Batch(2, [message(b"{}", offset=0), post(1)], {0: 0})]
    for _ in range(2):
        harness.sink._copy_slice(harness.consumer, stop)
    assert harness.history.written == [("posts.classified", [10], [Span(0, 0, 2, 2)])]
    assert harness.sink.last_error is None


def test_a_decoded_slice_waits_for_the_gate(harness: Harness) -> None:
    """The gate may close while a slice is decoded."""
    stop = threading.Event()
    harness.consumer.batches = [Batch(1, [post(0)], {0: 0}), Batch(1, [post(1)], {0: 1})]
    harness.gate.open = False
    for _ in range(2):
        harness.sink._copy_slice(harness.consumer, stop)
    assert (harness.history.written, len(harness.consumer.batches)) == ([], 1)
    harness.gate.open = True
    for _ in range(2):
        harness.sink._copy_slice(harness.consumer, stop)
    harness.sink._finish_write(harness.consumer, stop)
    assert [offsets for _, offsets, _ in harness.history.written] == [[0], [10]]


def test_a_closed_gate_pauses_the_fetching_and_drops_what_was_fetched_before(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSED_POLL_S", 0)
    harness.consumer.batches = [Batch(1, [post(0)], {0: 0})]
    for _ in range(3):
        harness.sink._wait_closed(harness.consumer, threading.Event())
        assert harness.consumer.is_paused
    assert harness.consumer.calls == [("rewind", "a record arrived while the gate was closed")]
    harness.sink._copy_slice(harness.consumer, threading.Event())
    assert not harness.consumer.is_paused


def test_a_tombstone_has_no_row_and_belongs_to_the_range(harness: Harness) -> None:
    harness.flush(Batch(1, [message(None, offset=0), post(1)], {0: 0}))
    assert harness.history.written == [("posts.classified", [10], [Span(0, 0, 2, 2)])]


@pytest.mark.parametrize("value", [b"", b"not json", b"{}", classified(3, partition=0).to_json()])
def test_a_record_that_cannot_be_read_is_dead_lettered_and_belongs_to_the_range(harness: Harness, value: bytes) -> None:
    harness.flush(Batch(1, [message(value, offset=4, partition=1, topic="posts.classified"), post(5, 1)], {1: 4}))
    (record,) = harness.producer.sent
    letter = DeadPost.from_json(record.value)
    assert record.topic == "posts.dead"
    assert letter.reason is DeadReason.INVALID_RECORD
    assert (letter.origin.topic, letter.origin.partition, letter.origin.offset) == ("posts.classified", 1, 4)
    assert harness.history.written == [("posts.classified", [50], [Span(1, 4, 6, 2)])]


def test_many_dead_letters_are_few_log_lines(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    for offset in range(50):
        harness.flush(Batch(1, [message(b"{}", offset=offset, topic="posts.classified")], {0: offset}))
    assert [line.partition(";")[0] for line in caplog.messages] == ["1 dead letter on posts.dead (invalid_record 1)"]


@pytest.mark.parametrize("poison", [{0}, {30}, {70}, {20, 30}, {0, 10, 20, 30, 40, 50, 60, 70}])
def test_rows_that_postgres_rejects_are_dead_lettered_and_the_rest_written(harness: Harness, poison: set[int]) -> None:
    harness.history.poison = poison
    batch = Batch(1, [post(offset, offset % 2) for offset in range(8)], {0: 0, 1: 1})
    harness.flush(batch)
    assert sorted(offset for _, offsets, _ in harness.history.written for offset in offsets) == sorted(
        {offset * 10 for offset in range(8)} - poison
    )
    letters = [DeadPost.from_json(record.value) for record in harness.producer.sent]
    assert {letter.origin.offset * 10 for letter in letters} == poison
    assert {letter.reason for letter in letters} == {DeadReason.NOT_STORABLE}
    assert harness.value("dead_letters_total", reason="not_storable") == len(poison)
    # Together the writes move each partition from its start to its end, without skipping an offset.
    for partition, start, end in ((0, 0, 7), (1, 1, 8)):
        spans = [span for _, _, spans in harness.history.written for span in spans if span.partition == partition]
        assert [span.start for span in spans] == [start, *(span.end for span in spans)][:-1]
        assert spans[-1].end == end
    assert harness.consumer.calls == [("done", batch)]


def test_a_rejection_without_rows_stops_the_sink(harness: Harness) -> None:
    harness.history.fails = [InvalidDataError("the ledger violates a constraint")]
    with pytest.raises(InvalidDataError):
        harness.flush(Batch(1, [message(None, offset=0)], {0: 0}))
    assert harness.producer.sent == []


def test_nothing_is_written_if_a_dead_letter_is_rejected(harness: Harness) -> None:
    harness.producer.error = RejectedError("no")
    with pytest.raises(RejectedError):
        harness.flush(Batch(1, [message(b"{}", offset=0), post(1)], {0: 0}))
    assert (harness.history.written, harness.consumer.calls) == ([], [])


def test_the_last_error_is_shown_until_a_write_or_a_read_of_the_backlog_succeeds(harness: Harness) -> None:
    harness.history.positions = {0: 1}
    harness.consumer.next_offsets = {0: 1}
    backlog: Any = FakeBacklog()

    for succeed in (
        lambda: harness.flush(Batch(1, [post(0)], {0: 0})),
        lambda: harness.sink._poll_backlog(harness.consumer, backlog, idle=True),
    ):
        harness.history.fails = [UnavailableError("PostgreSQL is away")]
        harness.flush(Batch(1, [post(0)], {0: 0}))
        assert harness.sink.last_error == "PostgreSQL is away"
        succeed()
        assert harness.sink.last_error is None

    harness.history.away = UnavailableError("still away")
    harness.sink._poll_backlog(harness.consumer, backlog, idle=True)
    assert harness.sink.last_error == "still away"
    assert harness.value("sink_backlog_failures_total") == 1


def test_a_partition_that_another_sink_has_taken_leaves_the_metrics(harness: Harness) -> None:
    backlog: Any = FakeBacklog()
    name = "emostream_sink_backlog_records"
    for assigned in ({0: 3, 1: 4}, {1: 4}, {}):
        harness.consumer.next_offsets = assigned
        harness.sink._poll_backlog(harness.consumer, backlog, idle=False)
        values = [
            harness.metrics.registry.get_sample_value(name, {"topic": "posts.classified", "partition": str(partition)})
            for partition in (0, 1)
        ]
        assert values == [7.0 if partition in assigned else None for partition in (0, 1)]
