"""Measures the model alone, which is the limit of what a core can classify."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from models.package.folder import ModelPackage
from models.text.onnx_classifier import OnnxClassifier


@dataclass(frozen=True)
class ModelRate:
    """The rate of the model on one thread, with the texts in memory.

    Attributes:
        name: the name of the model.
        version: its version.
        posts: posts that were classified.
        seconds: wall time of the measurement.
        posts_per_second: posts a second of wall time.
        cpu_s: processor seconds for a post.
    """

    name: str
    version: str
    posts: int
    seconds: float
    posts_per_second: float
    cpu_s: float


def measure_model(package: ModelPackage, texts: Sequence[str], *, batch: int, seconds: float) -> ModelRate:
    """Classify the texts repeatedly for some seconds, in batches, and return the rate.

    A first batch is not measured. At least one batch is measured.

    Args:
        package: the model.
        texts: the texts, classified in order and then from the beginning again.
        batch: texts in a batch.
        seconds: how long to measure for.

    Raises:
        ModelError: The model cannot be loaded.
    """
    classifier = OnnxClassifier.load(package, threads=1)
    classifier.warm_up()
    endless = itertools.cycle(texts)
    classifier.classify(list(itertools.islice(endless, batch)))
    posts, begin, cpu = 0, time.perf_counter(), time.process_time()
    while not posts or time.perf_counter() - begin < seconds:
        posts += len(classifier.classify(list(itertools.islice(endless, batch))))
    taken, spent = time.perf_counter() - begin, time.process_time() - cpu
    manifest = package.manifest
    return ModelRate(manifest.name, manifest.version, posts, taken, posts / taken, spent / posts)
