"""Pathway with a batch UDF: with `max_batch_size` it passes many rows to a local model at once.

https://pathway.com/blog/local-embeddings-batch-udfs and
https://pathway.com/developers/user-guide/data-transformation/user-defined-functions. The second page recommends
`deterministic=True`, with which Pathway does not keep results in memory. The reference of `pw.io.kafka.read` recommends
`max_backlog_size` for a topic with a backlog. There is no persistence, so Pathway starts over after a crash.
"""

from __future__ import annotations

from typing import Any

import pathway as pw

from benchmarks.peers.task import Labeller, Task

task = Task.read()
labeller = Labeller(task)


class Post(pw.Schema):
    """The columns that are read of a post. `id` is the name of the row's own id, so the post's id is `post_id`."""

    post_id: str
    text: str


@pw.udf(deterministic=True, max_batch_size=task.batch)
def classify(texts: list[str]) -> list[tuple[str, float]]:
    """Classify one batch of rows."""
    return labeller(texts)


def librdkafka(settings: dict[str, Any]) -> dict[str, str]:
    """Returns librdkafka settings with all values as strings, as Pathway expects them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}


posts = pw.io.kafka.read(
    librdkafka(task.consumer()),
    topic=task.raw,
    schema=Post,
    format="json",
    json_field_paths={"post_id": "/id"},
    autocommit_duration_ms=task.wait_ms,
    max_backlog_size=8 * task.batch,
)
answered = posts.select(pw.this.post_id, answer=classify(pw.this.text))
results = answered.select(pw.this.post_id, label=pw.this.answer.get(0), confidence=pw.this.answer.get(1))
pw.io.kafka.write(results, librdkafka(task.producer()), topic_name=task.classified, format="json", key=results.post_id)

if __name__ == "__main__":
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
