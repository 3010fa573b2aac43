"""Pathway with a batch UDF: `max_batch_size`, its way to hand a local model many rows at once.

https://pathway.com/blog/local-embeddings-batch-udfs and
https://pathway.com/developers/user-guide/data-transformation/user-defined-functions, which advises `deterministic=True`
too: results are then not kept in memory. `max_backlog_size` as the reference of `pw.io.kafka.read` advises for a topic
with a backlog. There is no persistence, without which Pathway starts anew after a crash.
"""

from __future__ import annotations

from typing import Any

import pathway as pw

from benchmarks.peers.task import Labeller, Task

task = Task.read()
labeller = Labeller(task)


class Post(pw.Schema):
    """What is read of a post. A column cannot be named `id`: that is the row's."""

    post_id: str
    text: str


@pw.udf(deterministic=True, max_batch_size=task.batch)
def classify(texts: list[str]) -> list[tuple[str, float]]:
    """A batch of rows at a time."""
    return labeller(texts)


def librdkafka(settings: dict[str, Any]) -> dict[str, str]:
    """Pathway wants every value as text."""
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
