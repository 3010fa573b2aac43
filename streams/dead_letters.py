"""Dead letters of consumed messages, as every stage writes them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError

from confluent_kafka import Message

from connectors.errors import UnavailableError
from connectors.kafka.batch import offset_of, partition_of
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.records import DeadPost, DeadReason, Origin

DELIVERY_TIMEOUT_S = 30.0
"""For a dead letter; beyond it the record is read again."""


def origin_of(message: Message) -> Origin:
    """Where a consumed message is."""
    return Origin(message.topic() or "", partition_of(message), offset_of(message))


def dead_letter(message: Message, reason: DeadReason, error: str) -> DeadPost:
    """The dead letter of a message."""
    return DeadPost.of(message.value(), message.key(), origin_of(message), reason, error)


def outgoing(letter: DeadPost, topic: str) -> Outgoing:
    """A dead letter as it is written; it keeps the message's key."""
    key = letter.key.encode() if letter.key is not None else None
    return Outgoing(topic, letter.to_json(), key)


def write_dead_letters(producer: ConfirmedProducer, letters: Sequence[DeadPost], topic: str) -> None:
    """Write dead letters, and wait until Kafka has confirmed them.

    Raises:
        UnavailableError: it did not in time; they may be there all the same.
        ConnectorError: Kafka refused.
    """
    try:
        producer.submit([outgoing(letter, topic) for letter in letters]).result(DELIVERY_TIMEOUT_S)
    except FutureTimeoutError as exc:
        raise UnavailableError("Kafka did not confirm a dead letter") from exc
