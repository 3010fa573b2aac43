"""Quix Streams with batches in memory: its Consumer and Producer, which its documentation recommends for this.

https://quix.io/docs/quix-streams/advanced/producer-consumer-lowlevel.html: "The intended use is when StreamingDataFrame
is not enough …: To batch messages in-memory before processing them." The documentation has another way, a count window
with `Collect` (https://quix.io/docs/quix-streams/windowing.html#count-based-tumbling-windows). It collects messages of
one key, which here is the post's id, so no window would ever fill. Delivery is at least once, as on the first page:
offsets are stored for the auto-commit after processing.
"""

from __future__ import annotations

import json

from quixstreams import Application

from benchmarks.peers.task import PRODUCER, Labeller, Task, result


def main() -> None:
    """Loop until the process is stopped."""
    task = Task.read()
    labeller = Labeller(task)
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        producer_extra_config=PRODUCER,
    )
    with app.get_consumer() as consumer, app.get_producer() as producer:
        consumer.subscribe(topics=[task.raw])
        while True:
            messages = consumer.consume(task.batch, task.wait_ms / 1_000)
            if not messages:
                continue
            for message in messages:
                if message.error():
                    raise RuntimeError(str(message.error()))
            posts = [json.loads(message.value()) for message in messages]
            answers = labeller([post["text"] for post in posts])
            for message, post, (label, confidence) in zip(messages, posts, answers, strict=True):
                value = result(post["id"], label, confidence)
                producer.produce(topic=task.classified, key=message.key(), value=value)
            producer.flush()
            for message in messages:
                consumer.store_offsets(message=message)


if __name__ == "__main__":
    main()
