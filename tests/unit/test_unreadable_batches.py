"""The end of a batch that cannot be read, from its bytes, and the consumer that skips it. The client is a fake."""

from __future__ import annotations

import struct

import pytest
from confluent_kafka import KafkaError

from connectors.errors import UnavailableError
from connectors.kafka import unreadable
from connectors.kafka.batch import offset_of
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
