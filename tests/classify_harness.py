"""A classify stage with a fake model and a fake broker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import Message

from connectors.kafka.batch import Batch
from connectors.kafka.own_records import OwnRecords
from models.classifier import Classification
from models.package.manifest import Head
from models.text.model_set import ModelSet
from streams.metrics import Metrics
from streams.pipeline.classify import ClassifyStage
from streams.records import ClassifiedPost, DeadPost, rfc3339
from tests.helpers import NOON, RecordingDeliverer, make_settings, message

LABELS = ("anger", "joy")


MOOD = Head(name="mood", labels=LABELS, output="mood")
OTHER = Head(name="other", labels=("a", "b", "c"), output="other")


class FakeClassifier:
    """Predicts joy for texts with a smile, and anger for others. A text with "bad" fails, and every text if `broken`.

    The last tier classifies the texts that say "hard". If it has a sentiment head, sentiment follows the labels.
    """

    def __init__(self, *more: Head, name: str = "tiny", version: str = "1.2.3") -> None:
        self.name, self.version = name, version
        self.heads = (MOOD, OTHER, *more)
        self.languages = ["en"]
        self.broken = False
        self.calls: list[list[str]] = []

    def classify(self, texts: Sequence[str]) -> Classification:
        self.calls.append(list(texts))
        if self.broken or any("bad" in text for text in texts):
            raise RuntimeError("the network fell over")
        rows = [[np.nan] * 2 if "nan" in text else [0.25, 0.75] if ":)" in text else [0.9, 0.1] for text in texts]
        mood = np.array(rows, dtype=np.float32).reshape(-1, 2)
        feelings = np.stack([mood[:, 0], np.zeros(len(texts), np.float32), mood[:, 1]], axis=1)
        other = np.zeros((len(texts), 3), np.float32)
        tiers = np.array(["hard" in text for text in texts], np.intp)
        return Classification({"mood": mood, "other": other, "sentiment": feelings}, tiers, ("quick", "full"))


class Harness:
    def __init__(
        self,
        deliverer: RecordingDeliverer | None = None,
        classifier: FakeClassifier | None = None,
        by_language: Mapping[str, FakeClassifier] | None = None,
        **overrides: Any,
    ) -> None:
        self.classifier = classifier or FakeClassifier()
        self.by_language = by_language or {}
        self.out = deliverer or RecordingDeliverer()
        self.metrics = Metrics()
        self.own_records = OwnRecords()
        settings = make_settings(**overrides)
        self.stage = ClassifyStage(settings, self.models, self.out, self.metrics, own_records=self.own_records)

    def models(self) -> ModelSet[FakeClassifier]:
        return ModelSet(self.classifier, self.by_language)

    async def process(self, *messages: Message) -> None:
        batch = Batch(1, list(messages), {m.partition() or 0: m.offset() or 0 for m in messages})
        await self.stage.deliver(await self.stage.prepare(batch))

    @property
    def results(self) -> list[ClassifiedPost]:
        return [ClassifiedPost.from_json(record.value) for record in self.out.to("posts.classified")]

    @property
    def letters(self) -> list[DeadPost]:
        return [DeadPost.from_json(record.value) for record in self.out.to("posts.dead")]

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0


def raw(offset: int, text: str = "hello :)", partition: int = 0, **fields: Any) -> Message:
    value = {"id": f"id-{offset}", "text": text, "created_at": rfc3339(NOON), "source": "web", **fields}
    return message(json.dumps(value).encode(), offset=offset, partition=partition, key=f"id-{offset}".encode())
