"""What a reader takes from the client at once: what has arrived, without a wait for more."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from connectors.kafka.config import READ_WAIT_MS, KafkaConfig
from connectors.kafka.take import take
from tests.helpers import message

WAIT_S = 0.5


class Client:
    """A client that notes how long it waits: as the real one does, if it has less than it is asked for."""

    def __init__(self, arrived: int) -> None:
        self._arrived = [message(b"x", offset=offset) for offset in range(arrived)]
        self.waited_s = 0.0

    def consume(self, number: int, timeout: float) -> list[Message]:
        found, self._arrived = self._arrived[:number], self._arrived[number:]
        if len(found) < number:
            self.waited_s += timeout
        return found


def taken(client: Client, most: int) -> list[int | None]:
    found: Any = client
    return [one.offset() for one in take(found, most, WAIT_S)]


def test_it_takes_what_has_arrived_and_waits_for_no_more() -> None:
    client = Client(3)
    assert taken(client, 10) == [0, 1, 2]
    assert client.waited_s == 0


def test_it_waits_for_the_first_message() -> None:
    client = Client(0)
    assert taken(client, 10) == []
    assert client.waited_s == WAIT_S


def test_it_takes_no_more_than_it_is_asked_for() -> None:
    client = Client(5)
    assert taken(client, 1) == [0]
    assert taken(client, 3) == [1, 2, 3]
    assert taken(client, 3) == [4]
    assert client.waited_s == 0


def test_the_broker_answers_a_reader_at_the_end_of_its_partitions_soon() -> None:
    """The reader learns only from this answer that it is at the end."""
    options = KafkaConfig("127.0.0.1:9092").bounded_reader("readers", auto_offset_reset="error")
    assert options["fetch.wait.max.ms"] == READ_WAIT_MS
    assert options["enable.partition.eof"] is True
