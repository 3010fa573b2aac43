"""Takes what a consumer has fetched, without the wait of `Consumer.consume` for as many messages as it is asked for."""

from __future__ import annotations

from confluent_kafka import Consumer, Message


def take(consumer: Consumer, most: int, wait_s: float) -> list[Message]:
    """Returns the messages and errors that have arrived, up to `most` of them, in their order.

    It waits up to `wait_s` seconds for the first one only. `Consumer.consume` waits until it has all that it is asked
    for, or until its time is over.

    Raises:
        KafkaException: The client has failed.
    """
    messages: list[Message] = consumer.consume(1, wait_s)
    if messages and most > 1:
        messages += consumer.consume(most - 1, 0)
    return messages
