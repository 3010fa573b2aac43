"""Dead letters of consumed messages, as every stage writes them."""

from __future__ import annotations

from confluent_kafka import Message

from connectors.kafka.consumer import offset_of, partition_of
from connectors.kafka.producer import Outgoing
from streams.records import DeadPost, DeadReason, Origin


def origin_of(message: Message) -> Origin:
    """Where a consumed message is."""
    return Origin(topic=message.topic() or "", partition=partition_of(message), offset=offset_of(message))


def dead_letter(message: Message, reason: DeadReason, error: str) -> DeadPost:
    """The dead letter of a message."""
    return DeadPost.of(message.value(), message.key(), origin_of(message), reason, error)


def outgoing(letter: DeadPost, topic: str) -> Outgoing:
    """A dead letter as it is written; it keeps the message's key."""
    key = letter.key.encode() if letter.key is not None else None
    return Outgoing(topic, letter.model_dump_json().encode(), key)
