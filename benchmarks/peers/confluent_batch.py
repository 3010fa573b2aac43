"""A hand-written loop over confluent-kafka that loses nothing: `consume(n)`, classify, flush, commit.

`Consumer.consume` is the client's own way to take many messages at once:
https://docs.confluent.io/platform/current/clients/confluent-kafka-python/html/index.html#confluent_kafka.Consumer.consume
Delivery is at least once: offsets are committed after Kafka has confirmed the results of the batch.
"""

from __future__ import annotations

import json

from confluent_kafka import Consumer, KafkaException, Producer

from benchmarks.peers.task import Labeller, Task, result


def main() -> None:
    """Loop until the process is stopped."""
    task = Task.read()
    labeller = Labeller(task)
    consumer = Consumer({**task.consumer(), "enable.auto.commit": False})
    producer = Producer(task.producer())
    consumer.subscribe([task.raw])
    while True:
        messages = consumer.consume(task.batch, task.wait_ms / 1_000)
        if not messages:
            continue
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        posts = [json.loads(message.value() or b"") for message in messages]
        answers = labeller([post["text"] for post in posts])
        for message, post, (label, confidence) in zip(messages, posts, answers, strict=True):
            producer.produce(task.classified, result(post["id"], label, confidence), message.key())
        producer.flush()
        consumer.commit(asynchronous=True)


if __name__ == "__main__":
    main()
