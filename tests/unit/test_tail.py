"""`Tail` shows the last records and every later one once, whatever arrives meanwhile. The client is a fake."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from typing import Any
from unittest.mock import patch

from confluent_kafka import KafkaError, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import tail as module
from connectors.kafka.config import KafkaConfig
from connectors.kafka.tail import Tail
from tests.helpers import message


@dataclass
class FakeKafka:
    """A client and its topic. An offset of a partition is a record, with its number in the topic, or a marker: None.

    Attributes:
        arriving: for each poll of the client, the partitions that get a record before it.
        random: chooses the partition from which a poll returns a message.
    """

    log: dict[int, list[int | None]]
    arriving: deque[list[int]]
    random: Random
    positions: dict[int, int] = field(default_factory=dict)
    at_end: set[int] = field(default_factory=set)
    written: count[int] = field(default_factory=count)

    def append(self, partition: int, *, marker: bool = False) -> None:
        self.log[partition].append(None if marker else next(self.written))

    def get_watermark_offsets(self, partition: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        return 0, len(self.log[partition.partition])

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert not self.positions, "librdkafka may abort if partitions are assigned again"
        self.incremental_assign(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            assert one.partition not in self.positions
            self.positions[one.partition] = one.offset

    def seek(self, partition: TopicPartition) -> None:
        assert partition.partition in self.positions, "a partition that is not fetched has no position"
        self.positions[partition.partition] = partition.offset
        self.at_end.discard(partition.partition)

    def poll(self, timeout: float) -> Any:
        for partition in self.arriving.popleft() if self.arriving else ():
            self.append(partition)
            self.at_end.discard(partition)
        ready = [one for one in self.positions if one not in self.at_end]
        if not ready:
            assert self.arriving, "a record is not shown"
            return None
        partition = self.random.choice(ready)
        log = self.log[partition]
        while self.positions[partition] < len(log):
            offset = self.positions[partition]
            self.positions[partition] += 1
            number = log[offset]
            if number is not None:
                return message(str(number).encode(), partition=partition, offset=offset, appended=number)
        self.at_end.add(partition)
        return message(None, partition=partition, error=KafkaError(KafkaError._PARTITION_EOF))


LOGS = st.dictionaries(st.integers(0, 3), st.lists(st.booleans(), max_size=12), min_size=1)
ARRIVING = st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=30)


def make(held: dict[int, list[bool]], arriving: list[list[int]], random: Random) -> tuple[FakeKafka, Tail]:
    kafka = FakeKafka({partition: [] for partition in range(4)}, deque(arriving), random)
    waiting = {partition: list(markers) for partition, markers in held.items()}
    while waiting := {partition: markers for partition, markers in waiting.items() if markers}:
        partition = random.choice(list(waiting))
        kafka.append(partition, marker=waiting[partition].pop(0))
    with patch.object(module, "Consumer", lambda _options: kafka):
        return kafka, Tail(
            KafkaConfig("127.0.0.1:1"), "t", 4, group="g", on_unreachable=lambda: None, on_unreadable=print
        )


def numbers(kafka: FakeKafka) -> list[int]:
    return sorted(number for log in kafka.log.values() for number in log if number is not None)


@given(LOGS, ARRIVING, st.integers(0, 15), st.randoms(use_true_random=False))
def test_the_last_records_and_every_later_one_are_shown_once(
    held: dict[int, list[bool]], arriving: list[list[int]], last: int, random: Random
) -> None:
    kafka, tail = make(held, arriving, random)
    at_start = numbers(kafka)
    later = sum(map(len, arriving))
    first = at_start[max(0, len(at_start) - last) :]

    found = [int(one.value or b"") for one in islice(tail.records(last=last, follow=True), len(first) + later)]

    assert found[: len(first)] == first
    assert sorted(found[len(first) :]) == numbers(kafka)[len(at_start) :]


@given(LOGS, ARRIVING, st.randoms(use_true_random=False))
def test_all_records_are_shown_once(held: dict[int, list[bool]], arriving: list[list[int]], random: Random) -> None:
    kafka, tail = make(held, arriving, random)
    total = len(numbers(kafka)) + sum(map(len, arriving))

    found = [int(one.value or b"") for one in islice(tail.records(last=None, follow=True), total)]

    assert sorted(found) == numbers(kafka)
