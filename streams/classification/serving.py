"""What a process holds that classifies texts on request: the models, the polls of their channels, and the batcher.

A process calls, in its event loop, `Serving.start` once, then `Serving.classify` any number of times at once, and
`Serving.close` at the end. Every run of the batcher asks for the current models once, so a model is replaced between
two runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from prometheus_client import CollectorRegistry

from models.errors import ServingStoppedError
from models.serving.metrics import BatchMetrics, ModelMetrics
from models.serving.micro_batcher import MicroBatcher
from models.serving.request_queue import BatchLimits
from models.serving.served_models import ServedModels
from models.serving.watch import ChannelWatch
from models.text.model_set import ModelSet
from models.text.onnx_classifier import OnnxClassifier
from streams.classification.texts import TextResult, classify_texts
from streams.connections import language_model_sources, model_source, model_threads
from streams.process.background import in_background
from streams.settings import Settings

logger = logging.getLogger(__name__)

LOAD_STOP_S: Final = 2.0
"""Seconds to wait, if the process stops during the start, for a download to end and to remove its files."""

_STOPPED: Final = "the process stopped before the models were loaded"

WAITING_BYTES: Final = 32 * 1024 * 1024
"""Greatest size of the texts that wait, unless the body of one request may be larger than half of it."""


class Serving:
    """Serves the models of a process, and classifies texts of concurrent callers with them.

    All methods must be called in one event loop, except `problem` and `current`, which are thread-safe.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        """Prepare the models. Nothing is read or sent yet. The metrics are added to `registry`.

        Raises:
            ModelError: A model URI is neither a registry nor a folder.
            RejectedError: The S3 endpoint is not valid.
        """
        self._settings = settings
        # As many inference threads as the model may use cores, with one thread of ONNX Runtime each.
        self._threads = model_threads(settings)
        by_language = language_model_sources(settings)
        self._models = ServedModels(
            replace(model_source(settings), threads=1),
            {language: replace(source, threads=1) for language, source in by_language.items()},
            ModelMetrics(registry),
        )
        self._metrics = BatchMetrics(registry)
        self._batcher: MicroBatcher[TextResult] | None = None
        self._watches: list[ChannelWatch] = []
        self._failures: list[str] = []
        self._closed = False
        self._loading: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Load the models in a background thread, and start the inference threads and the polls of the channels.

        Call `close` also after an error.

        Raises:
            ModelError, UnavailableError, RejectedError: A model cannot be had, neither from its channel nor from the
                cache; see `ServedModel.start`.
            ServingStoppedError: `close` was called meanwhile.
        """
        self._loading = loading = asyncio.wrap_future(in_background(self._models.start, name="model-load"))
        try:
            await asyncio.shield(loading)
        except asyncio.CancelledError:
            self._models.cancel()
            await self._loading_ends()
            raise
        except Exception as exc:
            # After `close` the error tells only that the connections to S3 were closed.
            if self._closed:
                raise ServingStoppedError(_STOPPED) from exc
            raise
        if self._closed:
            raise ServingStoppedError(_STOPPED)
        self._batcher = MicroBatcher(self._classify_run, self._metrics, limits=self._limits(), threads=self._threads)
        self._batcher.start()
        for served in self._models.watched:
            watch = ChannelWatch(served, served.poll_s, self._on_failure)
            watch.start()
            self._watches.append(watch)

    @property
    def problem(self) -> str | None:
        """Why the models may be outdated, for the readiness of the process; None if there is no such problem."""
        return self._failures[0] if self._failures else None

    def current(self) -> ModelSet[OnnxClassifier]:
        """Returns the models that classify the next run.

        Raises:
            RuntimeError: `start` was not called, or failed.
        """
        return self._models.current()

    async def classify(self, texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        """Classify texts, together with those of other callers; see `MicroBatcher.classify`.

        Each answer names its model: if a version takes over meanwhile, it may answer the rest of a large request.

        Raises:
            OverloadedError: Too many texts wait.
            RequestTooLargeError: The request would not fit, even if no other one waited.
            ClassificationError: A model is broken. A text that a working model cannot classify has the answer `Failed`.
            ServingStoppedError: The process stops.
            RuntimeError: `start` was not called, or failed.
        """
        if self._batcher is None:
            raise RuntimeError("no model has been loaded: call start first")
        return await self._batcher.classify(texts, stated)

    async def close(self, timeout_s: float) -> None:
        """Answer the callers that wait, for at most `timeout_s` seconds, and stop the threads and the polls.

        The callers that still wait after it get a `ServingStoppedError`.
        """
        self._closed = True
        self._models.cancel()
        try:
            if self._batcher is not None:
                await self._batcher.close(timeout_s)
        finally:
            await asyncio.gather(*(asyncio.to_thread(watch.stop) for watch in self._watches))
            await self._loading_ends()
            self._models.close()

    async def _loading_ends(self) -> None:
        """Wait until the thread that loads the models has ended, for up to `LOAD_STOP_S` seconds."""
        if self._loading is not None:
            await asyncio.wait([self._loading], timeout=LOAD_STOP_S)
            if not self._loading.cancel():
                self._loading.exception()  # read it, or asyncio logs that the exception was never retrieved

    def _classify_run(self, texts: Sequence[str], stated: Sequence[str | None]) -> list[TextResult]:
        return classify_texts(self._models.current(), texts, stated)

    def _limits(self) -> BatchLimits:
        settings = self._settings
        return BatchLimits(
            text_tokens=max(model.manifest.max_tokens for model in self._models.current().all),
            waiting_texts=settings.api_max_waiting_texts,
            waiting_bytes=max(WAITING_BYTES, 2 * settings.api_max_body_bytes),
        )

    def _on_failure(self, exc: BaseException) -> None:
        """Record that a channel is no longer polled. The models that serve keep serving."""
        logger.critical("a channel is no longer polled, because of a defect; restart the process", exc_info=exc)
        self._failures.append(f"a channel is no longer polled: {type(exc).__name__}")
