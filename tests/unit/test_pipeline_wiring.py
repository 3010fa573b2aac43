"""How the parts of a worker are connected, as far as no broker is needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from connectors.kafka.batch import Batch
from connectors.kafka.config import KafkaConfig
from connectors.kafka.source import BatchSource
from streams.metrics import Metrics
from streams.pipeline.app import create_pipeline
from streams.pipeline.emitter import Emitter
from streams.windows.pacing import BEHIND_WAIT_FACTOR
from tests.helpers import make_settings


async def test_aggregate_batches_fill_longer_only_while_posts_wait_to_be_classified(tmp_path: Path) -> None:
    settings = make_settings(aggregate_wait_ms=200)
    model: Any = SimpleNamespace(current=None, poll_s=0.0)
    store: Any = SimpleNamespace(shards=settings.shards, sizes=(60,))
    pipeline = create_pipeline(settings, KafkaConfig("127.0.0.1:1"), model, store, Metrics(), data_dir=tmp_path)
    try:
        (emitter,) = [service for service in pipeline.services if isinstance(service, Emitter)]
        sources = {service.topic: service for service in pipeline.services if isinstance(service, BatchSource)}
        raw, classified = sources[settings.topic_raw], sources[settings.topic_classified]
        for _ in range(2):
            await classified.channel.put(Batch(1, [], {}))
        assert classified.behind
        assert (classified._batch_wait_s(), emitter._behind()) == (0.2, False)
        for _ in range(2):
            await raw.channel.put(Batch(1, [], {}))
        assert (classified._batch_wait_s(), emitter._behind()) == (0.2 * BEHIND_WAIT_FACTOR, True)
    finally:
        await pipeline.close()
