"""What waits to be consumed without being fetched; and what a consumer does with it, against a fake client."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka import consumer as module
from connectors.kafka.batch import Batch, Run, offset_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.consumer import PositionedConsumer
from connectors.kafka.own_writes import QUIET_S, OwnWrites
from tests.fake_consumer_client import FakeClient
from tests.helpers import message


def run(first: int, end: int, partition: int = 0) -> Run[int]:
    return Run(partition, first, list(range(first, end)))


# What waits


def test_runs_are_taken_whole_and_in_order() -> None:
    own = OwnWrites()
    runs = [run(0, 3), run(3, 5), run(5, 6)]
    for one in runs:
        own.offer(one)
    assert len(own) == 6
    assert own.take(0) == []
    assert own.take(4) == runs[:2]
    assert own.take(4) == runs[2:]
    assert len(own) == 0


def test_the_newest_are_let_go_where_there_is_no_room() -> None:
    own = OwnWrites(limit=5)
    for one in (run(0, 3), run(3, 6), run(6, 8)):
        own.offer(one)
    assert own.take(9) == [run(0, 3), run(6, 8)]
    own.offer(run(8, 13))
    own.clear()
    own.offer(run(13, 18))
    assert own.take(9) == [run(13, 18)]


def test_whoever_waits_is_woken_by_what_comes() -> None:
    own = OwnWrites()
    begin = time.monotonic()
    own.wait(0.05)
    assert time.monotonic() - begin >= 0.05
    timer = threading.Timer(0.05, own.offer, [run(0, 1)])
    timer.start()
    own.wait(3_600)  # pytest ends a test before that
    assert own.take(1) == [run(0, 1)]
    timer.join()


# What a consumer does with it


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "Consumer", FakeClient)
        self.clock = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.clock)
        self.starts = {0: 10, 1: 20}
        self.own = OwnWrites()
        self.consumer = PositionedConsumer(
            KafkaConfig("127.0.0.1:1"), group="g", topic="t", positions=self.positions, own_writes=self.own
        )
        self.client: Any = self.consumer._consumer

    def positions(self, partitions: Sequence[int]) -> Mapping[int, int]:
        return {partition: self.starts[partition] for partition in partitions}

    def assign(self, *partitions: int) -> None:
        self.client.on_assign(self.client, [TopicPartition("t", partition) for partition in partitions])

    def poll(self, *fetched: tuple[int, int], own: Sequence[Run[int]] = (), most: int = 100) -> Batch | None:
        """One poll that fetches messages at these (partition, offset), after we have written these."""
        for one in own:
            self.own.offer(one)
        self.client.queue.append([message(b"x", partition=partition, offset=offset) for partition, offset in fetched])
        return self.consumer.poll(most, 0.2)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_what_follows_is_consumed_and_its_partition_paused(bench: Bench) -> None:
    bench.assign(0, 1)
    batch = bench.poll((1, 20), own=[run(10, 13), run(13, 15)])
    assert batch is not None
    assert (batch.runs, batch.starts, batch.ends()) == ([run(10, 13), run(13, 15)], {0: 10, 1: 20}, {0: 15, 1: 21})
    assert len(batch) == 6
    assert bench.client.paused == {0}
    assert bench.consumer.next_offsets == {0: 15, 1: 21}
    after = bench.poll(own=[run(15, 16)])
    assert after is not None
    assert (after.starts, after.ends()) == ({0: 15}, {0: 16})
    together = batch.followed_by(after)
    assert (together.starts, together.ends(), len(together)) == ({0: 10, 1: 20}, {0: 16, 1: 21}, 7)


def test_what_was_fetched_before_is_not_consumed_again_but_its_successor_is(bench: Bench) -> None:
    bench.assign(0)
    batch = bench.poll((0, 10), (0, 11), own=[run(10, 12)])
    assert batch is not None
    assert (batch.runs, [offset_of(found) for found in batch.messages]) == ([], [10, 11])
    assert bench.client.paused == {0}
    after = bench.poll(own=[run(12, 14)])
    assert after is not None
    assert after.runs == [run(12, 14)]


def test_what_lies_far_back_changes_nothing(bench: Bench) -> None:
    bench.assign(0)
    assert bench.poll(own=[run(7, 10 - 1), run(8, 12), run(0, 4, partition=1)]) is None
    assert bench.client.paused == set()
    assert bench.client.waits == [0.2]


def test_a_hole_is_fetched_from_where_it_begins(bench: Bench) -> None:
    bench.assign(0, 1)
    bench.poll(own=[run(10, 13), run(20, 22, partition=1)])
    assert bench.client.paused == {0, 1}
    batch = bench.poll(own=[run(14, 16), run(22, 23, partition=1)])
    assert batch is not None
    assert batch.runs == [run(22, 23, partition=1)]
    assert bench.client.paused == {1}
    assert bench.client.assigned == {0: 13, 1: 20}
    # The hole and what came after it, as fetched; the next one follows.
    bench.poll((0, 13), (0, 14), (0, 15), own=[run(16, 17)])
    assert bench.client.paused == {0, 1}
    assert bench.consumer.next_offsets == {0: 17, 1: 23}


def test_where_nothing_comes_any_more_is_fetched_again(bench: Bench) -> None:
    bench.assign(0, 1)
    bench.poll(own=[run(10, 13), run(20, 22, partition=1)])
    bench.clock += QUIET_S
    bench.poll(own=[run(13, 14)])
    assert bench.client.paused == {0, 1}
    bench.clock += 0.1
    bench.poll(own=[run(14, 15)])
    assert bench.client.paused == {0}
    assert bench.client.assigned[1] == 22


def test_what_waits_for_room_in_a_batch_is_not_taken_for_silence(bench: Bench) -> None:
    bench.assign(0, 1)
    bench.poll(own=[run(10, 13), run(20, 22, partition=1)])
    bench.clock += 2 * QUIET_S
    bench.poll(own=[run(13, 14), run(22, 23, partition=1)], most=1)
    assert bench.client.paused == {0, 1}
    batch = bench.poll(most=1)
    assert batch is not None
    assert batch.runs == [run(22, 23, partition=1)]


def test_only_what_is_fetched_is_waited_for_in_the_client(bench: Bench) -> None:
    bench.assign(0, 1)
    bench.poll(own=[run(10, 13)])
    bench.poll(own=[run(13, 14)])
    bench.poll(own=[run(14, 15), run(20, 22, partition=1)])
    bench.poll(own=[run(15, 16)])
    assert bench.client.waits == [0.2, 0.0, 0.0, 0.0]


def test_nothing_is_taken_while_all_is_paused(bench: Bench) -> None:
    bench.assign(0, 1)
    bench.poll(own=[run(10, 13)])
    bench.consumer.pause()
    bench.clock += 2 * QUIET_S
    assert bench.poll(own=[run(13, 14)]) is None
    assert bench.client.paused == {0, 1}
    assert bench.client.waits[-1] == 0.2
    bench.consumer.resume()
    assert bench.client.paused == {0}
    batch = bench.poll()
    assert batch is not None
    assert batch.runs == [run(13, 14)]


@pytest.mark.parametrize("end", ["rewind", "loss"])
def test_a_new_epoch_begins_by_fetching(bench: Bench, end: str) -> None:
    bench.assign(0)
    batch = bench.poll(own=[run(10, 13)])
    bench.own.offer(run(13, 15))
    if end == "rewind":
        bench.consumer.rewind("test")
    else:
        bench.client.on_lost(bench.client, bench.client.assignment())
        bench.assign(0)
    assert bench.poll() is None
    assert batch is not None
    assert not bench.consumer.is_current(batch)
    assert (bench.client.paused, bench.client.assigned) == (set(), {0: 10})


def test_a_client_that_cannot_be_turned_is_assigned_anew(bench: Bench) -> None:
    bench.assign(0)
    bench.poll(own=[run(10, 13)])
    bench.client.seek_error = KafkaException(KafkaError(KafkaError._STATE))
    batch = bench.poll(own=[run(14, 15)])
    assert batch is None
    bench.starts[0] = 13
    bench.poll()
    assert (bench.client.paused, bench.client.assigned) == (set(), {0: 13})
