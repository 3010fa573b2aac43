"""The models that a process serves side by side: the main one, and those that are configured for a language."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from models.registry.location import S3Location, parse_uri
from models.serving.metrics import MAIN, ModelMetrics, ServedMetrics
from models.serving.served import ServedModel, StoppedError
from models.serving.source import ModelSource
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier

logger = logging.getLogger(__name__)


class ServedModels:
    """Serves several models, each with its own channel.

    Sources of the same folder, or of the same registry and channel, are one model, which is loaded once.

    `current` and `cancel` are thread-safe. `start` must be called before the models of `watched` are polled, which each
    may have a thread of its own.
    """

    def __init__(self, main: ModelSource, by_language: Mapping[str, ModelSource], metrics: ModelMetrics) -> None:
        """Prepare the models. Nothing is read or sent yet.

        Args:
            main: The main model.
            by_language: The models that are configured for a language, by its subtag of BCP 47.
            metrics: The metrics of the process.

        Raises:
            ModelError: A model URI is neither a registry nor a folder.
            RejectedError: The S3 endpoint is not valid.
        """
        groups: dict[tuple[S3Location | Path, str], tuple[ModelSource, list[str]]] = {_identity(main): (main, [])}
        for language, source in by_language.items():
            groups.setdefault(_identity(source), (source, []))[1].append(language)
        self._served = [
            ServedModel(
                replace(source, languages=tuple(languages)),
                ServedMetrics(metrics, ",".join(languages) if index else MAIN),
            )
            for index, (source, languages) in enumerate(groups.values())
        ]
        """The models. The main model is the first."""
        self._by_language = {
            language: index for index, (_, languages) in enumerate(groups.values()) for language in languages
        }
        """By language: the index of its model in `_served`."""
        self._cancelled = threading.Event()

    @property
    def watched(self) -> Sequence[ServedModel]:
        """The models whose channels are to be polled, at the intervals `ServedModel.poll_s`."""
        return [served for served in self._served if served.poll_s]

    def current(self) -> ModelSet[OnnxClassifier]:
        """Returns the models to classify the next batch with.

        Raises:
            RuntimeError: `start` was not called, or failed.
        """
        # Each is asked once, so that a model of several languages that is replaced meanwhile is the same one for all.
        classifiers = [served.current() for served in self._served]
        return ModelSet(classifiers[0], {language: classifiers[index] for language, index in self._by_language.items()})

    def start(self) -> None:
        """Load the models, one after another, as `ServedModel.start` does. Warn of those with the same version.

        Raises:
            ModelError, UnavailableError, RejectedError: A model cannot be loaded; see `ServedModel.start`.
            StoppedError: `cancel` was called.
        """
        for served in self._served:
            if self._cancelled.is_set():
                raise StoppedError
            served.start()
        for first, second in combinations(self.current().all, 2):
            if first.version == second.version:
                logger.warning(
                    "%s and %s have the same version %s, so windows count their posts as those of one model",
                    first.name,
                    second.name,
                    first.version,
                )

    def cancel(self) -> None:
        """End downloads and waits for other processes' downloads, because the process stops. Thread-safe."""
        self._cancelled.set()
        for served in self._served:
            served.cancel()

    def close(self) -> None:
        """Close the connections to S3."""
        for served in self._served:
            served.close()


def _identity(source: ModelSource) -> tuple[S3Location | Path, str]:
    """Returns what two sources of the same model have in common. The channel does not matter for a folder.

    Raises:
        ModelError: The URI is neither a registry nor a folder.
    """
    location = parse_uri(source.uri)
    return location, source.channel if isinstance(location, S3Location) else ""
