"""A source with a fake consumer, and a fake app that notes its crashes, for tests of how batches are worked off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import faust
import pytest

from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.source import BatchSource
from streams.metrics import Metrics
from streams.pipeline import batches as batches_module
from streams.pipeline.batches import run_batch
from tests.helpers import FakeApp, message


class FakeConsumer:
    """A consumer that records its calls. Its epoch begins with 1, and a rewind raises it."""

    is_paused = False

    def __init__(self) -> None:
        self.epoch = 1
        self.calls: list[tuple[str, Any]] = []

    def is_current(self, batch: Batch) -> bool:
        return batch.epoch == self.epoch

    def done(self, batch: Batch) -> None:
        self.calls.append(("done", batch))

    def rewind(self, reason: str) -> None:
        self.epoch += 1
        self.calls.append(("rewind", reason))


class Harness:
    def __init__(self, session_timeout_ms: int = 60_000, *, batch_max: int = 1, batch_wait_s: float = 0.1) -> None:
        self.app: Any = FakeApp()
        self.metrics = Metrics()
        self.consumer: Any = FakeConsumer()
        self.source = BatchSource(
            faust.App("test-run-batch"),
            KafkaConfig("127.0.0.1:1", session_timeout_ms=session_timeout_ms),
            group="g",
            client_id="c",
            topic="posts.raw",
            positions=lambda partitions: {},
            batch_max=batch_max,
            batch_wait_s=lambda: batch_wait_s,
        )
        self.source._consumer = self.consumer
        self.processed: list[Batch] = []

    async def run(self, batch: Batch, fails: Exception | None = None) -> None:
        async def process(batch: Batch) -> None:
            self.processed.append(batch)
            if fails is not None:
                raise fails

        await run_batch(self.app, self.source, batch, process, stage="classify", metrics=self.metrics)

    def feed(self, consumer: Any) -> asyncio.Task[None]:
        """Let the source's thread poll `consumer`, until the source is stopped."""
        return asyncio.create_task(asyncio.to_thread(self.source._feed, consumer, asyncio.get_running_loop()))

    def rewinds(self, cause: str) -> float:
        labels = {"stage": "classify", "cause": cause}
        return self.metrics.registry.get_sample_value("emostream_rewinds_total", labels) or 0


@pytest.fixture(name="harness")
def harness_fixture(monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setattr(batches_module, "RETRY_PAUSE_S", 0)
    return Harness()


def batch(epoch: int = 1) -> Batch:
    return Batch(epoch, [message(b"{}", offset=4)], {0: 4})


def in_thread(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread
