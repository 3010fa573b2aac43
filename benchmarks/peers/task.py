"""The task of a system, passed in environment variables, and what the peers share: the model and client settings.

This module imports only `models` from the project, because the peers may run in a Python environment of their own.
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
    """Where the posts are, where the results go, and how the model runs.

    Attributes:
        bootstrap: Kafka's address.
        raw: Topic of the posts: JSON with at least `id` and `text`; the key is the id.
        classified: Topic of the results.
        group: Consumer group, new for each run.
        model: Folder of the model package. The DistilBERT uses only its tokenizer and its limit of tokens.
        network: ONNX file of the DistilBERT-shaped network.
        threads: Threads of ONNX Runtime.
        batch: Posts in a batch at most, for systems that take batches.
        model_batch: Texts in a model batch, in the order of arrival; 0 for model batches by `models.text.batching`.
        wait_ms: How long a batch waits to fill, in milliseconds.
        partitions: Partitions of each topic, for a system that takes a batch from each partition.
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
        """Returns the task of this process from its environment variables."""
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
        """Returns the environment variables that `read` reads."""
        return {PREFIX + field.upper(): str(getattr(self, field)) for field in self.__dataclass_fields__}

    def consumer(self) -> dict[str, Any]:
        """Returns librdkafka's consumer settings: its defaults, from the beginning of the topic."""
        return {"bootstrap.servers": self.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest"}

    def producer(self) -> dict[str, Any]:
        """Returns librdkafka's producer settings, which are those of emostream."""
        return {"bootstrap.servers": self.bootstrap, **PRODUCER}


PRODUCER: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "compression.type": "lz4",
}


class ArrivalOrderClassifier(OnnxClassifier):
    """Classifies a fixed number of texts at a time in the order of arrival, each padded to the longest.

    A `transformers` pipeline with a `batch_size` does this. The answers are the same, because padding is masked.
    """

    def _batches(self, index: int, lengths: Sequence[int]) -> Iterator[Sequence[int]]:
        positions = list(range(len(lengths)))
        return (positions[at : at + self._limits.max_batch] for at in range(0, len(lengths), self._limits.max_batch))


class Labeller:
    """The model as every peer calls it."""

    def __init__(self, task: Task) -> None:
        self._classifier = (
            ArrivalOrderClassifier.load(task.model, threads=task.threads, max_batch=task.model_batch)
            if task.model_batch
            else OnnxClassifier.load(task.model, threads=task.threads)
        )
        self._classifier.warm_up()
        self._head = self._classifier.manifest.heads[0]

    def __call__(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """Returns the most probable label of the first head for each text, and its probability."""
        probabilities = self._classifier.classify(texts).probabilities[self._head.name]
        best = probabilities.argmax(axis=1)
        return [
            (self._head.labels[label], round(float(row[label]), 4))
            for label, row in zip(best.tolist(), probabilities, strict=True)
        ]


def result(post_id: str, label: str, confidence: float) -> bytes:
    """Returns a record of the classified topic."""
    return json.dumps({"id": post_id, "label": label, "confidence": confidence}).encode()
