"""A Faust agent as in the first example of the user guide: `async for` over the stream, one post at a time.

https://faust-streaming.github.io/faust/userguide/agents.html and .../streams.html. Delivery is at least once: Faust
acknowledges an event when the loop asks for the next one. As in the guide, the loop does not wait for a send to be
confirmed. Results are not compressed, because aiokafka needs another package for lz4.

    python -m benchmarks.peers.faust_one worker --without-web
"""

from __future__ import annotations

from collections.abc import AsyncIterator

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
async def classify(posts: AsyncIterator[Post]) -> None:
    """Classify one post at a time."""
    async for post in posts:
        ((label, confidence),) = labeller([post.text])
        await classified.send(key=post.id, value=Classified(id=post.id, label=label, confidence=confidence))


if __name__ == "__main__":
    app.main()
