"""A table has the last value of each key, whatever happens to the topic meanwhile. The client is a fake."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import RejectedError
from connectors.kafka import table as module
from connectors.kafka.config import KafkaConfig
from connectors.kafka.table import CHECK_S, GONE_S, RELOAD_S, TopicTable
from tests.helpers import message


class FakeKafka:
    """A client and its topic.

    Attributes:
        log: by offset, key and value of each record that Kafka still holds.
        end: the offset of the next record.
        failure: what a request for the end of the topic fails with; None if it succeeds.
        missing: whether the brokers say that the topic does not exist; None if they do not answer.
        now: the time in seconds.
        seeks_to_refuse: how many of the next attempts to move are refused.
    """

    def __init__(self, random: Random | None = None) -> None:
        self.log: dict[int, tuple[bytes, bytes | None]] = {}
        self.end = 0
        self.failure: int | None = None
        self.missing: bool | None = None
        self.now = 1_000.0
        self.seeks_to_refuse = 0
        self._position = 0
        self._told_end = False
        self._random = random

    def write(self, key: bytes, value: bytes | None) -> None:
        self.log[self.end] = (key, value)
        self.end += 1
        self._told_end = False

    def compact(self) -> None:
        """Keep the last value of each key, and no deletion; as Kafka does when deletions are old enough."""
        last = {key: offset for offset, (key, _) in self.log.items()}
        self.log = {at: row for at, row in self.log.items() if last[row[0]] == at and row[1] is not None}

    def make_again(self) -> None:
        self.log, self.end = {}, 0

    def rows(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for key, value in self.log.values():
            found.pop(key, None)
            if value is not None:
                found[key] = value
        return found

    # The client's methods.

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert [(one.partition, one.offset) for one in partitions] == [(0, OFFSET_BEGINNING)]

    def seek(self, partition: TopicPartition) -> None:
        assert partition.offset == OFFSET_BEGINNING
        if self.seeks_to_refuse:
            self.seeks_to_refuse -= 1
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._position, self._told_end = 0, False

    def get_watermark_offsets(self, partition: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        if self.failure is not None:
            raise KafkaException(KafkaError(self.failure))
        return min(self.log, default=self.end), self.end

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        if self.missing is None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART) if self.missing else None
        return SimpleNamespace(topics={topic: SimpleNamespace(error=error)})

    def consume(self, most: int, timeout: float) -> list[Any]:
        if self._position > self.end:  # the offset is out of range, and auto.offset.reset is earliest
            self._position, self._told_end = 0, False
        ready = [offset for offset in self.log if offset >= self._position]
        if self._random is not None:
            ready = ready[: self._random.randint(1, 3)]
        if ready:
            self._position = ready[-1] + 1
            self._told_end = False
            return [message(self.log[at][1], key=self.log[at][0], offset=at) for at in ready]
        if not self._told_end and not any(offset >= self._position for offset in self.log):
            self._position, self._told_end = self.end, True
            return [message(None, offset=self.end, error=KafkaError(KafkaError._PARTITION_EOF))]
        return []


def make(kafka: FakeKafka, max_rows: int = 100) -> TopicTable:
    with patch.object(module, "Consumer", lambda _options: kafka):
        return TopicTable(KafkaConfig("127.0.0.1:1"), "t", group="g", max_rows=max_rows, clock=lambda: kafka.now)


def drain(kafka: FakeKafka, table: TopicTable) -> None:
    """Poll until nothing more comes."""
    quiet = 0
    while quiet < 60:
        kafka.now += CHECK_S
        quiet = 0 if table.poll(0) else quiet + 1


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
WRITES = st.tuples(KEYS, st.none() | st.sampled_from([b"1", b"2"]))
STEPS = st.one_of(WRITES, st.sampled_from(["poll", "compact", "make again", "long away"]))


@given(st.lists(STEPS, max_size=40), st.randoms(use_true_random=False))
def test_the_rows_are_the_last_values_in_the_order_of_writing(steps: list[Any], random: Random) -> None:
    kafka = FakeKafka(random)
    table = make(kafka)
    for step in steps:
        if isinstance(step, tuple):
            kafka.write(*step)
        elif step == "poll":
            table.poll(0)
        elif step == "compact":
            # Kafka keeps a deletion long enough for everybody who reads.
            drain(kafka, table)
            kafka.compact()
        elif step == "make again":
            kafka.make_again()
            drain(kafka, table)
        else:
            # Meanwhile keys are deleted, and Kafka removes the deletions.
            kafka.write(b"a", None)
            kafka.write(b"b", None)
            kafka.compact()
            kafka.now += RELOAD_S + 1
    drain(kafka, table)
    assert table.complete
    assert list(table.rows.items()) == list(kafka.rows().items())


def test_a_table_is_complete_when_the_end_is_reached_and_not_before() -> None:
    kafka = FakeKafka(Random(1))
    for number in range(20):
        kafka.write(b"%d" % number, b"x")
    table = make(kafka)
    seen = set()
    while not table.complete:
        table.poll(0)
        seen.add(len(table.rows))
    assert seen == {0, 20}


def test_an_empty_topic_is_complete() -> None:
    table = make(FakeKafka())
    assert table.poll(0)
    assert table.complete
    assert not table.rows


def test_a_poll_tells_whether_something_changed() -> None:
    kafka = FakeKafka()
    table = make(kafka)
    assert table.poll(0)
    assert not table.poll(0)
    kafka.write(b"a", None)
    assert not table.poll(0)
    kafka.write(b"a", b"1")
    assert table.poll(0)
    kafka.write(b"a", None)
    assert table.poll(0)


def test_the_rows_stay_while_the_table_begins_again() -> None:
    kafka = FakeKafka()
    kafka.write(b"a", b"1")
    kafka.write(b"b", b"1")
    table = make(kafka)
    drain(kafka, table)
    kafka.make_again()
    kafka.write(b"c", b"1")
    table.poll(0)
    assert set(table.rows) == {b"a", b"b"}
    drain(kafka, table)
    assert set(table.rows) == {b"c"}


@pytest.mark.parametrize("refused", [0, 2])
def test_a_topic_that_was_made_again_while_no_broker_answered_is_read_anew(refused: int) -> None:
    """Its offsets may reach further than those that were read."""
    kafka = FakeKafka()
    kafka.write(b"a", b"1")
    table = make(kafka)
    drain(kafka, table)
    kafka.failure = KafkaError._TRANSPORT
    drain(kafka, table)
    kafka.make_again()
    for key in (b"b", b"c", b"d"):
        kafka.write(key, b"1")
    kafka.failure = None
    kafka.seeks_to_refuse = refused
    drain(kafka, table)
    assert set(table.rows) == {b"b", b"c", b"d"}


@pytest.mark.parametrize(
    ("code", "missing"),
    [
        (KafkaError._ALL_BROKERS_DOWN, None),
        (KafkaError._TIMED_OUT, None),
        # The client says so while it has no connection.
        (KafkaError._UNKNOWN_PARTITION, None),
        (KafkaError._UNKNOWN_PARTITION, False),
    ],
)
def test_brokers_may_be_away(code: int, missing: bool | None) -> None:
    kafka = FakeKafka()
    kafka.missing = missing
    kafka.write(b"a", b"1")
    table = make(kafka)
    drain(kafka, table)
    kafka.failure = code
    for _ in range(10):
        kafka.now += GONE_S
        table.poll(0)
    assert set(table.rows) == {b"a"}
    kafka.failure = None
    drain(kafka, table)
    assert set(table.rows) == {b"a"}


def test_a_topic_that_does_not_exist_is_an_error_after_a_while() -> None:
    kafka = FakeKafka()
    table = make(kafka)
    kafka.missing = True
    kafka.failure = KafkaError.UNKNOWN_TOPIC_OR_PART
    kafka.now += CHECK_S
    table.poll(0)
    kafka.failure = None
    kafka.now += CHECK_S
    table.poll(0)
    kafka.failure = KafkaError._UNKNOWN_PARTITION
    kafka.now += GONE_S
    table.poll(0)
    kafka.now += GONE_S
    with pytest.raises(RejectedError, match="topic t does not exist; run `emostream init`"):
        table.poll(0)


def test_too_many_keys_are_an_error() -> None:
    kafka = FakeKafka()
    table = make(kafka, max_rows=2)
    for key in (b"a", b"b", b"a"):
        kafka.write(key, b"1")
    table.poll(0)
    kafka.write(b"c", b"1")
    with pytest.raises(RejectedError, match="t has more than 2 keys"):
        table.poll(0)
