"""Quix Streams as in its quickstart: a StreamingDataFrame whose `apply` gets one post at a time.

https://quix.io/docs/quix-streams/quickstart.html and https://quix.io/docs/quix-streams/processing.html. Delivery is at
least once, the default: https://quix.io/docs/quix-streams/configuration.html#processing-guarantees
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application

from benchmarks.peers.task import PRODUCER, Labeller, Task


def main() -> None:
    """Run until the process is stopped."""
    task = Task.read()
    labeller = Labeller(task)
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        producer_extra_config=PRODUCER,
        auto_create_topics=False,
    )

    def classify(post: dict[str, Any]) -> dict[str, Any]:
        ((label, confidence),) = labeller([post["text"]])
        return {"id": post["id"], "label": label, "confidence": confidence}

    posts = app.dataframe(app.topic(task.raw, value_deserializer="json"))
    posts.apply(classify).to_topic(app.topic(task.classified, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
