"""Own records: the queue of records that are not fetched, and how a consumer with a fake client consumes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka import consumer as module
from connectors.kafka.batch import Batch, OwnRange, offset_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.consumer import PositionedConsumer
from connectors.kafka.own_records import QUIET_S, OwnRecords
from tests.fake_consumer_client import FakeClient
from tests.helpers import message


def written(first: int, end: int, partition: int = 0) -> OwnRange[int]:
    return OwnRange(partition, first, list(range(first, end)), memory=end - first)


# The queue


def test_ranges_are_taken_in_order_and_never_split() -> None:
    own = OwnRecords()
    ranges = [written(0, 3), written(3, 5), written(5, 6)]
    for one in ranges:
        own.offer(one)
    assert len(own) == 6
    assert own.take(0) == []
    assert own.take(4) == ranges[:2]
    assert own.take(4) == ranges[2:]
    assert len(own) == 0


def test_new_records_are_dropped_if_there_is_no_room() -> None:
    own = OwnRecords(memory_limit=5)
    for one in (written(0, 3), written(3, 6), written(6, 8)):
        own.offer(one)
    assert own.take(9) == [written(0, 3), written(6, 8)]
    own.offer(written(8, 13))
    own.clear()
    own.offer(written(13, 18))
    assert own.take(9) == [written(13, 18)]


def test_a_wait_ends_when_a_record_comes() -> None:
    own = OwnRecords()
    begin = time.monotonic()
    own.wait(0.05)
    assert time.monotonic() - begin >= 0.05
    timer = threading.Timer(0.05, own.offer, [written(0, 1)])
    timer.start()
    own.wait(3_600)  # pytest ends a test before that
    assert own.take(1) == [written(0, 1)]
    timer.join()


# The consumer


class Harness:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "Consumer", FakeClient)
        self.clock = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.clock)
        self.starts = {0: 10, 1: 20}
        self.own = OwnRecords()
        self.consumer = PositionedConsumer(
            KafkaConfig("127.0.0.1:1"), group="g", topic="t", positions=self.positions, own_records=self.own
        )
        self.client: Any = self.consumer._consumer

    def positions(self, partitions: Sequence[int]) -> Mapping[int, int]:
        return {partition: self.starts[partition] for partition in partitions}

    def assign(self, *partitions: int) -> None:
        self.client.on_assign(self.client, [TopicPartition("t", partition) for partition in partitions])

    def poll(self, *fetched: tuple[int, int], own: Sequence[OwnRange[int]] = (), most: int = 100) -> Batch | None:
        """Add own records to the queue, then poll once and fetch messages at these (partition, offset)."""
        for one in own:
            self.own.offer(one)
        self.client.queue.append([message(b"x", partition=partition, offset=offset) for partition, offset in fetched])
        return self.consumer.poll(most, 0.2)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Harness:
    return Harness(monkeypatch)


def test_own_records_that_follow_are_consumed_and_the_partition_is_paused(harness: Harness) -> None:
    harness.assign(0, 1)
    batch = harness.poll((1, 20), own=[written(10, 13), written(13, 15)])
    assert batch is not None
    assert (batch.own_ranges, batch.starts, batch.ends()) == (
        [written(10, 13), written(13, 15)],
        {0: 10, 1: 20},
        {0: 15, 1: 21},
    )
    assert len(batch) == 6
    assert harness.client.paused == {0}
    assert harness.consumer.next_offsets == {0: 15, 1: 21}
    after = harness.poll(own=[written(15, 16)])
    assert after is not None
    assert (after.starts, after.ends()) == ({0: 15}, {0: 16})
    together = batch.followed_by(after)
    assert (together.starts, together.ends(), len(together)) == ({0: 10, 1: 20}, {0: 16, 1: 21}, 7)


def test_own_records_that_were_fetched_before_are_not_consumed_again(harness: Harness) -> None:
    harness.assign(0)
    batch = harness.poll((0, 10), (0, 11), own=[written(10, 12)])
    assert batch is not None
    assert (batch.own_ranges, [offset_of(found) for found in batch.messages]) == ([], [10, 11])
    assert harness.client.paused == {0}
    after = harness.poll(own=[written(12, 14)])
    assert after is not None
    assert after.own_ranges == [written(12, 14)]


def test_own_records_far_below_the_position_change_nothing(harness: Harness) -> None:
    harness.assign(0)
    assert harness.poll(own=[written(7, 10 - 1), written(8, 12), written(0, 4, partition=1)]) is None
    assert harness.client.paused == set()
    assert harness.client.waits == [0.2]


def test_records_of_others_between_own_records_are_fetched(harness: Harness) -> None:
    harness.assign(0, 1)
    harness.poll(own=[written(10, 13), written(20, 22, partition=1)])
    assert harness.client.paused == {0, 1}
    batch = harness.poll(own=[written(14, 16), written(22, 23, partition=1)])
    assert batch is not None
    assert batch.own_ranges == [written(22, 23, partition=1)]
    assert harness.client.paused == {1}
    assert harness.client.assigned == {0: 13, 1: 20}
    # The record of another process and the own records after it are fetched. The next own record follows them.
    harness.poll((0, 13), (0, 14), (0, 15), own=[written(16, 17)])
    assert harness.client.paused == {0, 1}
    assert harness.consumer.next_offsets == {0: 17, 1: 23}


def test_a_partition_is_fetched_at_once_if_records_were_written_and_not_kept(harness: Harness) -> None:
    harness.assign(0)
    batch = harness.poll(own=[written(10, 13), written(15, 15)])
    assert batch is not None
    assert (batch.own_ranges, batch.starts) == ([written(10, 13)], {0: 10})
    assert harness.client.paused == set()
    harness.poll((0, 13), own=[written(14, 15), written(15, 17)])
    assert harness.consumer.next_offsets == {0: 17}
    assert harness.client.paused == {0}
    harness.poll(own=[written(18, 18)])
    assert (harness.client.paused, harness.client.assigned) == (set(), {0: 17})


def test_a_partition_without_new_own_records_is_fetched_again(harness: Harness) -> None:
    harness.assign(0, 1)
    harness.poll(own=[written(10, 13), written(20, 22, partition=1)])
    harness.clock += QUIET_S
    harness.poll(own=[written(13, 14)])
    assert harness.client.paused == {0, 1}
    harness.clock += 0.1
    harness.poll(own=[written(14, 15)])
    assert harness.client.paused == {0}
    assert harness.client.assigned[1] == 22


def test_a_partition_with_records_in_the_queue_is_not_quiet(harness: Harness) -> None:
    harness.assign(0, 1)
    harness.poll(own=[written(10, 13), written(20, 22, partition=1)])
    harness.clock += 2 * QUIET_S
    harness.poll(own=[written(13, 14), written(22, 23, partition=1)], most=1)
    assert harness.client.paused == {0, 1}
    batch = harness.poll(most=1)
    assert batch is not None
    assert batch.own_ranges == [written(22, 23, partition=1)]


def test_the_client_waits_only_if_no_partition_is_read_locally(harness: Harness) -> None:
    harness.assign(0, 1)
    harness.poll(own=[written(10, 13)])
    harness.poll(own=[written(13, 14)])
    harness.poll(own=[written(14, 15), written(20, 22, partition=1)])
    harness.poll(own=[written(15, 16)])
    assert harness.client.waits == [0.2, 0.0, 0.0, 0.0]


def test_no_own_record_is_taken_during_a_pause(harness: Harness) -> None:
    harness.assign(0, 1)
    harness.poll(own=[written(10, 13)])
    harness.consumer.pause()
    harness.clock += 2 * QUIET_S
    assert harness.poll(own=[written(13, 14)]) is None
    assert harness.client.paused == {0, 1}
    assert harness.client.waits[-1] == 0.2
    harness.consumer.resume()
    assert harness.client.paused == {0}
    batch = harness.poll()
    assert batch is not None
    assert batch.own_ranges == [written(13, 14)]


@pytest.mark.parametrize("end", ["rewind", "loss"])
def test_a_new_epoch_fetches_all_partitions(harness: Harness, end: str) -> None:
    harness.assign(0)
    batch = harness.poll(own=[written(10, 13)])
    harness.own.offer(written(13, 15))
    if end == "rewind":
        harness.consumer.rewind("test")
    else:
        harness.client.on_lost(harness.client, harness.client.assignment())
        harness.assign(0)
    assert harness.poll() is None
    assert batch is not None
    assert not harness.consumer.is_current(batch)
    assert (harness.client.paused, harness.client.assigned) == (set(), {0: 10})


def test_a_client_that_cannot_be_paused_or_resumed_is_assigned_again(harness: Harness) -> None:
    harness.assign(0)
    harness.poll(own=[written(10, 13)])
    harness.client.seek_error = KafkaException(KafkaError(KafkaError._STATE))
    batch = harness.poll(own=[written(14, 15)])
    assert batch is None
    harness.starts[0] = 13
    harness.poll()
    assert (harness.client.paused, harness.client.assigned) == (set(), {0: 13})


def test_few_messages_at_once_are_taken_from_the_client(harness: Harness) -> None:
    """A message may have a megabyte, and the batch that is being filled may have room for thousands."""
    harness.assign(0)
    harness.poll(most=16_384)
    assert harness.client.wanted[-1] == module.MAX_FETCHED
    harness.poll(most=3)
    assert harness.client.wanted[-1] == 3
