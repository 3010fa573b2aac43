"""Helpers that tests of the micro-batcher share: a model that the test holds up, and callers that wait."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from models.serving.metrics import BatchMetrics
from models.serving.micro_batcher import MicroBatcher
from models.serving.request_queue import BatchLimits

DEADLINE_S = 60.0


class HeldModel:
    """A classify function whose runs begin when the test looks at them, and end when the test says so."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self._begun: queue.Queue[int] = queue.Queue()
        self._let_go = threading.Semaphore(0)
        self.open = threading.Event()
        self.fails: dict[str, BaseException] = {}

    def __call__(self, texts: Sequence[str], stated: Sequence[str | None]) -> list[str]:
        self.runs.append(list(texts))
        self._begun.put(len(texts))
        while not self.open.is_set() and not self._let_go.acquire(timeout=0.01):
            pass
        for text in texts:
            if text in self.fails:
                raise self.fails[text]
        return [f"{text}/{tag}" for text, tag in zip(texts, stated, strict=True)]

    async def begun(self) -> list[str]:
        """Wait until one more run begins, and return its texts."""
        await asyncio.to_thread(self._begun.get, timeout=DEADLINE_S)
        return self.runs[-1]

    def finish(self) -> None:
        """End one run."""
        self._let_go.release()


@asynccontextmanager
async def batcher(
    model: Callable[[Sequence[str], Sequence[str | None]], Sequence[str]],
    registry: CollectorRegistry | None = None,
    *,
    threads: int = 1,
    **limits: int,
) -> AsyncIterator[MicroBatcher[str]]:
    metrics = BatchMetrics(registry or CollectorRegistry())
    made = MicroBatcher(model, metrics, limits=BatchLimits(**limits), threads=threads)
    made.start()
    try:
        yield made
    finally:
        if isinstance(model, HeldModel):
            model.open.set()
        await made.close(DEADLINE_S)


async def ask(to: MicroBatcher[str], *texts: str) -> asyncio.Task[list[str]]:
    """Begin a request, and return when it waits."""
    task = asyncio.create_task(to.classify(texts, [None] * len(texts)))
    await asyncio.sleep(0)
    return task
