"""How the parts of a worker are connected, as far as no broker is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mode import Service

from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.source import BatchSource
from connectors.redis import connect
from streams.metrics import Metrics
from streams.pipeline import app
from streams.pipeline.emitter import Emitter
from streams.windows.pacing import BEHIND_WAIT_FACTOR
from streams.windows.store import WindowStore
from tests.helpers import make_settings


async def test_aggregate_batches_fill_longer_only_while_posts_wait_to_be_classified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The test reads the arguments with which the parts are made."""
    sources: dict[str, BatchSource] = {}
    waits_s: dict[str, Callable[[], float]] = {}
    behind: list[Callable[[], bool]] = []

    def make_source(*args: Any, **given: Any) -> BatchSource:
        topic = given["topic"]
        sources[topic], waits_s[topic] = BatchSource(*args, **given), given["batch_wait_s"]
        return sources[topic]

    def make_emitter(*args: Any, **given: Any) -> Emitter:
        behind.append(given["behind"])
        return Emitter(*args, **given)

    monkeypatch.setattr(app, "BatchSource", make_source)
    monkeypatch.setattr(app, "Emitter", make_emitter)
    settings = make_settings(aggregate_wait_ms=200)
    model: Any = SimpleNamespace(current=None, watched=())
    store = WindowStore(connect("redis://127.0.0.1:1"), prefix="emo", shards=settings.shards, sizes=[60])
    pipeline = app.create_pipeline(
        settings, KafkaConfig("127.0.0.1:1"), model, store, Metrics(), topic_ids={}, data_dir=tmp_path
    )
    try:
        raw, classified = sources[settings.topic_raw], sources[settings.topic_classified]
        (is_behind,), wait_s = behind, waits_s[settings.topic_classified]
        for _ in range(2):
            await classified.channel.put(Batch(1, [], {}))
        assert classified.behind
        assert (wait_s(), is_behind()) == (0.2, False)
        for _ in range(2):
            await raw.channel.put(Batch(1, [], {}))
        assert (wait_s(), is_behind()) == (0.2 * BEHIND_WAIT_FACTOR, True)
    finally:
        await pipeline.close()


def test_services_start_without_lines_of_the_library_in_the_log() -> None:
    """Otherwise a worker's log begins with lines such as `[^-TotalsFeed]: Starting...`."""
    own = [kind for kind in Service.__subclasses__() if kind.__module__.startswith(("streams.", "connectors."))]
    assert {BatchSource, Emitter} < set(own)
    assert [kind for kind in own if kind.mundane_level != "debug"] == []
