"""The backlog, and when it is in danger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Message

from streams.sink.backlog import BacklogReader, PartitionBacklog, is_near_retention, retention_s
from tests.helpers import NOON_MS, message


class FakeReader:
    """Partition 0 has the records [10, 20), one for each second from noon; partition 1 has transaction markers only."""

    def __init__(self) -> None:
        self.low = 10
        self.reads: list[tuple[int, int]] = []
        self.requests = 0

    def all_bounds(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        self.requests += 1
        return {partition: (self.low, 20) if partition == 0 else (0, 3) for partition in partitions}

    def message_at(self, topic: str, partition: int, offset: int) -> Message | None:
        self.reads.append((partition, offset))
        return message(b"", offset=offset, appended=NOON_MS + offset * 1_000) if partition == 0 else None


@pytest.fixture
def reader() -> Any:
    return FakeReader()


def test_the_backlog_begins_at_the_next_offset(reader: Any) -> None:
    (found,) = BacklogReader(reader, "t").read({0: 15})
    assert found == PartitionBacklog(0, 15, 20, NOON_MS + 15_000)
    assert found.records == 5
    assert found.age_s(NOON_MS / 1_000 + 60) == 45
    assert found.age_s(NOON_MS / 1_000) == 0, "the clock of the broker is ahead"


def test_records_that_kafka_has_deleted_do_not_wait(reader: Any) -> None:
    (found,) = BacklogReader(reader, "t").read({0: 4})
    assert (found.next_offset, found.records) == (10, 10)


@pytest.mark.parametrize("next_offsets", [{0: 20}, {0: 25}, {1: 0}])
def test_nothing_waits_at_the_end_or_before_markers_only(reader: Any, next_offsets: dict[int, int]) -> None:
    (found,) = BacklogReader(reader, "t").read(next_offsets)
    assert (found.records, found.oldest_ms, found.age_s()) == (0, None, 0.0)


def test_one_request_asks_for_all_partitions(reader: Any) -> None:
    assert [one.partition for one in BacklogReader(reader, "t").read({1: 0, 0: 15})] == [0, 1]
    assert reader.requests == 1


def test_the_oldest_record_is_read_once_while_nothing_is_written(reader: Any) -> None:
    backlog = BacklogReader(reader, "t")
    for next_offset in (12, 12, 13, 13):
        backlog.read({0: next_offset})
    reader.low = 15
    assert backlog.read({0: 13})[0].oldest_ms == NOON_MS + 15_000
    assert reader.reads == [(0, 12), (0, 13), (0, 15)]


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"retention.ms": "5000", "cleanup.policy": "delete"}, 5.0),
        ({"retention.ms": "5000", "cleanup.policy": "compact,delete"}, 5.0),
        ({"retention.ms": "5000"}, 5.0),
        ({"retention.ms": "5000", "cleanup.policy": "compact"}, None),
        ({"retention.ms": "-1", "cleanup.policy": "delete"}, None),
        ({}, None),
    ],
)
def test_only_a_topic_that_deletes_records_has_a_retention(config: dict[str, str], seconds: float | None) -> None:
    assert retention_s(config) == seconds


@pytest.mark.parametrize(
    ("oldest_s", "kept_s", "near"),
    [(80, 100, True), (79.9, 100, False), (1e9, None, False), (None, 100, False), (None, 0, False)],
)
def test_a_backlog_is_in_danger_from_80_percent_of_the_retention(
    oldest_s: float | None, kept_s: float | None, near: bool
) -> None:
    assert is_near_retention(oldest_s, kept_s) is near
