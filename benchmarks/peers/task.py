"""What every system is given, through the environment, and what all of them share: the model and the client's settings.

Needs nothing of the project but `models`: the peers may run in an environment of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.text.onnx_classifier import OnnxClassifier

PREFIX = "BENCH_"


@dataclass(frozen=True)
class Task:
    """Where the posts are and where the results go.

    Attributes:
        bootstrap: Kafka's address.
        raw: topic of the posts, JSON with at least `id` and `text`, key = id.
        classified: topic of the results.
        group: consumer group, new for each run.
        model: folder of the model package; for the DistilBERT its ONNX file stands in `network`.
        network: the DistilBERT-shaped network.
        threads: of ONNX Runtime.
        batch: posts handed to the model at once, where a system has a way to.
        model_batch: texts that the model runs on at once, in the order they came; 0 for batches by
            `models.text.batching`.
        wait_ms: how long such a batch waits to fill.
        partitions: of the topics, for a system that takes a batch from each.
    """

    bootstrap: str
    raw: str
    classified: str
    group: str
    model: Path
    network: Path
    threads: int
    batch: int
    model_batch: int
    wait_ms: int
    partitions: int

    @classmethod
    def read(cls) -> Task:
        """The task of this process."""
        given = {field: os.environ[PREFIX + field.upper()] for field in cls.__dataclass_fields__}
        return cls(
            bootstrap=given["bootstrap"],
            raw=given["raw"],
            classified=given["classified"],
            group=given["group"],
            model=Path(given["model"]),
            network=Path(given["network"]),
            threads=int(given["threads"]),
            batch=int(given["batch"]),
            model_batch=int(given["model_batch"]),
            wait_ms=int(given["wait_ms"]),
            partitions=int(given["partitions"]),
        )

    def environment(self) -> dict[str, str]:
        """The variables that `read` reads."""
        return {PREFIX + field.upper(): str(getattr(self, field)) for field in self.__dataclass_fields__}

    def consumer(self) -> dict[str, Any]:
        """librdkafka's settings of a consumer: its defaults, from the beginning of the topic."""
        return {"bootstrap.servers": self.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest"}

    def producer(self) -> dict[str, Any]:
        """librdkafka's settings of a producer: those of our own, for everybody."""
        return {"bootstrap.servers": self.bootstrap, **PRODUCER}


PRODUCER: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "compression.type": "lz4",
}


class AsTheyCome(OnnxClassifier):
    """The usual way to serve a model in batches: so many texts at a time, in their order, padded to the longest.

    As a `transformers` pipeline does with its `batch_size`. The answers are the same: padding is masked.
    """

    def _batches(self, index: int, lengths: Sequence[int]) -> Iterator[Sequence[int]]:
        positions = list(range(len(lengths)))
        return (positions[at : at + self._limits.max_batch] for at in range(0, len(lengths), self._limits.max_batch))


class Labeller:
    """The model as every system calls it: texts in, a label and its confidence out."""

    def __init__(self, task: Task) -> None:
        self._classifier = (
            AsTheyCome.load(task.model, threads=task.threads, max_batch=task.model_batch)
            if task.model_batch
            else OnnxClassifier.load(task.model, threads=task.threads)
        )
        self._classifier.warm_up()
        self._head = self._classifier.manifest.heads[0]

    def __call__(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """The first head's most probable label of each text, and its probability."""
        probabilities = self._classifier.classify(texts).probabilities[self._head.name]
        best = probabilities.argmax(axis=1)
        return [
            (self._head.labels[label], round(float(row[label]), 4))
            for label, row in zip(best.tolist(), probabilities, strict=True)
        ]


def result(post_id: str, label: str, confidence: float) -> bytes:
    """The record on the classified topic."""
    return json.dumps({"id": post_id, "label": label, "confidence": confidence}).encode()
