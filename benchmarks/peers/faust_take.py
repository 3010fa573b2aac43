"""A Faust agent over batches: `stream.take(n, within=seconds)`, which the user guide shows for lists of values.

https://faust-streaming.github.io/faust/userguide/streams.html#take-buffer-up-to-n-values-in-the-stream

    python -m benchmarks.peers.faust_take worker --without-web
"""

from __future__ import annotations

import faust

from benchmarks.peers.task import PRODUCER, Labeller, Task

task = Task.read()
labeller = Labeller(task)


class Post(faust.Record):
    """The fields of a post that the agent reads."""

    id: str
    text: str


class Classified(faust.Record, include_metadata=False):  # type: ignore[call-arg] # Faust has no types
    """A result."""

    id: str
    label: str
    confidence: float


app = faust.App(
    task.group,
    broker=f"kafka://{task.bootstrap}",
    producer_acks=-1,
    producer_linger_ms=PRODUCER["linger.ms"],
)
raw = app.topic(task.raw, value_type=Post)
classified = app.topic(task.classified, key_type=str, value_type=Classified)


@app.agent(raw)
async def classify(posts: faust.Stream[Post]) -> None:
    """Classify one list of posts at a time."""
    async for batch in posts.take(task.batch, within=task.wait_ms / 1_000):
        answers = labeller([post.text for post in batch])
        for post, (label, confidence) in zip(batch, answers, strict=True):
            await classified.send(key=post.id, value=Classified(id=post.id, label=label, confidence=confidence))


if __name__ == "__main__":
    app.main()
