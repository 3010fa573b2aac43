"""Makes and writes the dead letters of consumed messages, for every stage."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Message

from connectors.errors import UnavailableError
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.records import DeadPost, DeadReason, Origin

DELIVERY_TIMEOUT_S = 30.0
"""How long to wait until Kafka confirms dead letters. If it does not in time, the caller reads the messages again."""


def origin_of(message: Message) -> Origin:
    """Returns the topic, partition and offset of a consumed message."""
    return Origin(message.topic() or "", partition_of(message), offset_of(message))


def dead_letter(message: Message, reason: DeadReason, error: str) -> DeadPost:
    """Returns the dead letter of a consumed message."""
    return DeadPost.of(message.value(), message.key(), origin_of(message), reason, error)


def outgoing(letter: DeadPost, topic: str) -> Outgoing:
    """Returns a dead letter as a record for the producer, under the key of its message."""
    return Outgoing(topic, letter.to_json(), letter.key_bytes())


def write_dead_letters(producer: ConfirmedProducer, letters: Sequence[DeadPost], topic: str) -> None:
    """Write dead letters, and return when Kafka has confirmed all of them.

    Raises:
        UnavailableError: Kafka did not confirm them in time. They may be in the topic nevertheless.
        ConnectorError: Kafka rejected them.
    """
    try:
        producer.submit([outgoing(letter, topic) for letter in letters]).result(DELIVERY_TIMEOUT_S)
    except TimeoutError as exc:
        raise UnavailableError(f"Kafka did not confirm dead letters within {DELIVERY_TIMEOUT_S:.0f} s") from exc
