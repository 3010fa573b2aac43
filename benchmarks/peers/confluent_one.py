"""A plain loop over confluent-kafka, one post at a time, as in its examples: poll, classify, produce.

https://docs.confluent.io/platform/current/clients/confluent-kafka-python/html/index.html ("Consumer", "Producer").
The client commits the offsets of polled messages every five seconds, without waiting for the results to be
confirmed. A crash may lose the posts in flight.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer

from benchmarks.peers.task import Labeller, Task, result

Answer = tuple[str, float]


def run(task: Task, classify: Callable[[str], Answer]) -> None:
    """Loop until the process is stopped."""
    consumer = Consumer(task.consumer())
    producer = Producer(task.producer())
    consumer.subscribe([task.raw])
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        post = json.loads(message.value())
        label, confidence = classify(post["text"])
        producer.produce(task.classified, result(post["id"], label, confidence), message.key())
        producer.poll(0)


def main() -> None:
    """Classify one post at a time with the shared model."""
    task = Task.read()
    labeller = Labeller(task)
    run(task, lambda text: labeller([text])[0])


if __name__ == "__main__":
    main()
