"""The end of a batch that cannot be read, from its bytes, and the consumer that skips it. The client is a fake."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka import offsets as offsets_module
from connectors.kafka import scan as scan_module
from connectors.kafka import unreadable
from connectors.kafka.batch import UnreadableBatch, offset_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.offsets import OffsetReader
from connectors.kafka.scan import TopicScan
from connectors.kafka.unreadable import end_of_first_batch
from tests.consumer_harness import Harness, harness_fixture  # noqa: F401 - a fixture
from tests.helpers import message, record_batch

LAST_OFFSET_DELTA = 23
"""Where a batch has the difference between its last and its first offset, 4 bytes."""


def end(data: bytes, first: int = 7, high: int = 1_000) -> int:
    return end_of_first_batch(data, first, high, "testing")


def with_last_delta(batch: bytes, delta: int) -> bytes:
    return batch[:LAST_OFFSET_DELTA] + struct.pack(">i", delta) + batch[LAST_OFFSET_DELTA + 4 :]


def test_the_end_is_in_the_header() -> None:
    assert end(record_batch(7, 5)) == 12
    assert end(record_batch(7, 5) + record_batch(40, 3)) == 12, "offsets that compaction has emptied are not skipped"
    assert end(record_batch(7, 5) + record_batch(12, 3)[:50]) == 12


def test_a_damaged_header_cannot_skip_records_of_other_batches() -> None:
    batch = record_batch(7, 5)
    assert end(with_last_delta(batch, 2_000_000_000) + record_batch(12, 3)) == 12
    assert end(with_last_delta(batch, 2_000_000_000), high=15) == 15
    assert end(with_last_delta(batch, -5)) == 8, "the consumer must not read the batch again for ever"


@pytest.mark.parametrize("data", [b"", record_batch(12, 3), record_batch(7, 5)[:50]])
def test_a_batch_that_was_deleted_meanwhile_has_no_end(data: bytes) -> None:
    with pytest.raises(UnavailableError, match="no longer holds the batch while testing"):
        end(data)


def test_a_header_that_is_too_short_is_an_error_with_a_remedy() -> None:
    too_short = struct.pack(">qi", 7, 2) + bytes(40)
    with pytest.raises(RejectedError, match=r"testing: its header is damaged.*kafka-delete-records"):
        end(too_short)
    assert end(record_batch(7, 5) + too_short) == 12


BAD = KafkaError(KafkaError._BAD_COMPRESSION)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[bytes | Exception]:
    """What the broker answers to each request for the bytes of a batch."""
    answers: list[bytes | Exception] = []

    async def fetch(*_: object) -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(unreadable, "_fetch", fetch)
    return answers


def test_an_unreadable_batch_is_part_of_the_batch_and_the_consumer_continues_after_it(
    harness: Harness, stored: list[bytes | Exception]
) -> None:
    harness.assign(0, 1)
    stored.append(record_batch(12, 30))
    batch = harness.poll_messages(
        message(b"x", offset=10), message(b"x", partition=1, offset=20), message(None, offset=12, error=BAD)
    )
    assert batch is not None
    assert [(one.partition, one.first, one.end) for one in batch.unreadable] == [(0, 12, 42)]
    assert (batch.starts, batch.ends()) == ({0: 10, 1: 20}, {0: 42, 1: 21})
    assert harness.client.assigned == {0: 42, 1: 20}
    assert harness.consumer.next_offsets == {0: 42, 1: 21}


def test_a_position_within_an_unreadable_batch_stays(harness: Harness, stored: list[bytes | Exception]) -> None:
    """The records before the position were read before the batch was damaged."""
    harness.assign(0)
    stored.append(record_batch(5, 30))
    batch = harness.poll_messages(message(None, offset=5, error=BAD))
    assert batch is not None
    assert [(one.first, one.end) for one in batch.unreadable] == [(10, 35)]


def test_an_unreadable_batch_that_is_reported_twice_is_skipped_once(
    harness: Harness, stored: list[bytes | Exception]
) -> None:
    harness.assign(0)
    stored += [record_batch(10, 5), record_batch(10, 5)]
    report = message(None, offset=10, error=BAD)
    batch = harness.poll_messages(report, message(b"x", offset=15), report)
    assert batch is not None
    assert [(one.first, one.end) for one in batch.unreadable] == [(10, 15)]
    assert [offset_of(one) for one in batch.messages] == [15]
    assert harness.poll((0, 15)) is None, "it is fetched again, and was consumed before"


def test_nothing_passes_an_unreadable_batch_whose_end_is_not_known(
    harness: Harness, stored: list[bytes | Exception]
) -> None:
    harness.assign(0)
    stored += [UnavailableError("away"), record_batch(10, 5)]
    report = message(None, offset=10, error=BAD)
    batch = harness.poll_messages(report, message(b"x", offset=15))
    assert batch is None or not harness.consumer.is_current(batch)
    batch = harness.poll_messages(report)
    assert (harness.client.assigned, len(harness.lookups)) == ({0: 15}, 2)
    assert batch is not None
    assert [(one.first, one.end) for one in batch.unreadable] == [(10, 15)]


class RereadingClient:
    """A client of a partition with eight records, of which 3 and 4 cannot be read. It reports them twice."""

    def __init__(self, options: object) -> None:
        report = message(None, offset=3, error=BAD)
        read, read_again = (list(map(self._record, offsets)) for offsets in ((0, 1, 2), (5, 6)))
        self.answers = [[*read, report, *read_again], [report], list(map(self._record, (5, 6, 7)))]

    def _record(self, offset: int) -> Message:
        return message(b"x", offset=offset)

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

    def get_watermark_offsets(self, partition: object, *, timeout: float, cached: bool) -> tuple[int, int]:
        return 0, 8

    def assign(self, partitions: list[TopicPartition]) -> None:
        pass

    def consume(self, count: int, timeout: float) -> list[Message]:
        return self.answers.pop(0) if self.answers else []

    def seek(self, partition: TopicPartition) -> None:
        assert partition.offset == 5

    def unassign(self) -> None:
        pass

    def close(self) -> None:
        pass


CONFIG = KafkaConfig("127.0.0.1:1")


@pytest.mark.parametrize(
    "read",
    [
        lambda: TopicScan(CONFIG, "posts.raw", group="g").messages(),
        lambda: OffsetReader(CONFIG, group="g").between("posts.raw", 0, 0, 8),
    ],
    ids=["a scan", "a range"],
)
def test_records_that_come_again_after_an_unreadable_batch_are_yielded_once(
    monkeypatch: pytest.MonkeyPatch, stored: list[bytes | Exception], read: Callable[[], Iterable[Message]]
) -> None:
    stored += [record_batch(3, 2), record_batch(3, 2)]
    monkeypatch.setattr(scan_module, "Consumer", RereadingClient)
    monkeypatch.setattr(offsets_module, "Consumer", RereadingClient)
    assert [offset_of(one) for one in read()] == [0, 1, 2, 5, 6, 7]


def test_a_range_tells_of_its_unreadable_batches(
    monkeypatch: pytest.MonkeyPatch, stored: list[bytes | Exception]
) -> None:
    stored += [record_batch(3, 2), record_batch(3, 2)]
    monkeypatch.setattr(offsets_module, "Consumer", RereadingClient)
    found: list[UnreadableBatch] = []
    reader = OffsetReader(CONFIG, group="g")
    assert len(list(reader.between("posts.raw", 0, 0, 8, on_unreadable=found.append))) == 6
    assert [(one.partition, one.first, one.end) for one in found] == [(0, 3, 5)]


def test_a_batch_is_not_skipped_while_kafka_does_not_tell_the_bounds(
    harness: Harness, stored: list[bytes | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.assign(0)
    stored.append(record_batch(10, 5))
    monkeypatch.setattr(harness.client, "get_watermark_offsets", lambda *_, **__: None)
    batch = harness.poll_messages(message(None, offset=10, error=BAD))
    assert batch is None
    assert harness.client.assigned == {0: 10}
