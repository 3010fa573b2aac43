"""The models that a process serves side by side: the main one, and those that are configured for a language."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from itertools import combinations

from models.serving.metrics import MAIN, ModelMetrics, ServedMetrics
from models.serving.served import ServedModel, StoppedError
from models.serving.source import ModelSource, distinct_sources
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
        sources = distinct_sources(main, by_language)
        self._served = [
            ServedModel(source, ServedMetrics(metrics, ",".join(source.languages) if index else MAIN))
            for index, source in enumerate(sources)
        ]
        """The models. The main model is the first."""
        self._by_language = {language: index for index, source in enumerate(sources) for language in source.languages}
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
