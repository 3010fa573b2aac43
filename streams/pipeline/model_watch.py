"""The model that a worker serves, and the watch over its channel.

A new version takes over in six steps: 1. read the channel; 2. read the manifest; 3. download into the cache, with every
file's SHA-256 checked; 4. load and warm up; 5. try it on the golden posts; 6. replace the served model, in one
assignment. The classify stage asks for the model once per batch, so the change falls between two batches. A version
that fails a step is refused, counted and reported, and the old one stays. Steps 1 to 5 run in a thread of their own:
batches go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any, Final, NamedTuple

import faust
from mode import Service

from connectors import s3 as s3_connector
from connectors.s3 import S3
from models.errors import ModelCacheError, ModelError
from models.package.folder import ModelPackage, load_package
from models.registry.cache import fetch, manifest_digest
from models.registry.cache_keep import last_good, remember_good, remove_old
from models.registry.channels import require_channel
from models.registry.location import S3Location, parse_uri
from models.registry.version import read_version
from models.text.onnx_classifier import OnnxClassifier
from streams.connections import model_threads, s3_config
from streams.metrics import Metrics
from streams.model_steps import PASSING_FAULTS, ModelRefusedError, cause_of, ready, step
from streams.settings import Settings

logger = logging.getLogger(__name__)

MAX_BACKOFF_S: Final = 60.0
"""Between two looks while S3 does not answer; each look that fails doubles the pause up to this."""

REFUSAL_RETRY_S: Final = 300.0
"""Until a refused version is tried again: what looked like a fault of its own may have passed, or been mended."""

_JOIN_S: Final = 2.0

_now = time.monotonic


class StoppedError(Exception):
    """The worker stops; a download in progress ends with this."""


class _Seen(NamedTuple):
    """What was found at a look: the pointer by its ETag, the version by its manifest; None for what was not there."""

    etag: str | None = None
    digest: str | None = None


class ServedModel:
    """The classifier in service: that of a folder, or that to which a channel of a registry points.

    `current` and `cancel` may be called from any thread, `start` and `look` by one at a time.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Prepare; nothing is read or sent yet.

        Raises:
            ModelError: The model URI is neither a registry nor a folder.
            RejectedError: The S3 endpoint is not valid.
        """
        self._uri = settings.model_uri
        self._channel = settings.model_channel
        self._cache = settings.model_cache.expanduser()
        self._threads = model_threads(settings)
        self._metrics = metrics
        self._location = parse_uri(settings.model_uri)
        in_s3 = isinstance(self._location, S3Location)
        self._s3: S3 | None = s3_connector.connect(s3_config(settings)) if in_s3 else None
        self.watched: bool = in_s3 and settings.model_poll_s > 0
        self._classifier: OnnxClassifier | None = None
        self._serving = _Seen()
        self._refused: _Seen | None = None
        self._retry_refused_at = 0.0
        self._seen = _Seen()
        self._failing = False
        self._to_remember: ModelPackage | None = None
        self._remember_fails = False
        self._cancelled = threading.Event()

    def current(self) -> OnnxClassifier:
        """The model to classify the next batch with."""
        if self._classifier is None:
            raise RuntimeError("no model has been loaded: call start first")
        return self._classifier

    def start(self) -> None:
        """Load the model. Where the channel's cannot be had or is refused, the last good one in the cache serves.

        Raises:
            ModelError: There is no such model, or it was refused, or cannot be loaded now, and the cache has no good
                one of this channel.
            UnavailableError: S3 did not answer, and the cache has no good one.
            RejectedError: S3 refused, and the cache has no good one.
            StoppedError: `cancel` was called.
        """
        if not isinstance(self._location, S3Location):
            self._serve(ready(load_package(self._location), threads=self._threads), "")
            logger.info("%s is ready (folder %s, not watched)", self._name(), self._location)
            return
        try:
            self._follow()
        except ModelRefusedError as exc:
            self._refuse(exc)
            if not self._serve_last_good(exc):
                raise
        except PASSING_FAULTS as exc:
            self._failing = True
            self._metrics.model_watch_failures.labels(cause_of(exc)).inc()
            if not self._serve_last_good(exc):
                raise
        else:
            self._metrics.model_last_look.set_to_current_time()

    def look(self) -> bool:
        """See whether the channel points to another version, and if so have it take over or refuse it.

        Returns:
            Whether there is a verdict. If not, the model in service stays, and the same look may succeed later.

        Raises:
            StoppedError: `cancel` was called.
        """
        self._remember()
        try:
            self._follow()
        except ModelRefusedError as exc:
            if self._refuse(exc):
                logger.error(
                    "the model on channel %s is refused (%s), %s serves on: %s",
                    self._channel,
                    exc.reason,
                    self._name(),
                    exc,
                )
        except PASSING_FAULTS as exc:
            self._metrics.model_watch_failures.labels(cause_of(exc)).inc()
            if not self._failing:
                self._failing = True
                logger.warning("the channel %s cannot be followed, %s serves on: %s", self._channel, self._name(), exc)
            return False
        if self._failing:
            self._failing = False
            logger.info("the channel %s can be followed again", self._channel)
        self._metrics.model_last_look.set_to_current_time()
        return True

    def cancel(self) -> None:
        """End a download, or a wait for one, in progress: the worker stops."""
        self._cancelled.set()

    def close(self) -> None:
        """Close the connection to S3."""
        if self._s3 is not None:
            self._s3.close()

    def _follow(self) -> None:
        """Steps 1 to 6, as far as there is anything to do."""
        assert self._s3 is not None  # noqa: S101 - for the type checker: registries only
        assert isinstance(self._location, S3Location)  # noqa: S101
        self._seen = _Seen()
        with step("channel"):
            channel = require_channel(self._location, self._s3, self._channel)
        if self._refused is None and channel.etag == self._serving.etag:
            return
        self._seen = _Seen(channel.etag)
        with step("manifest"):
            version = read_version(self._location, self._s3, channel.pointer.release)
        self._seen = _Seen(channel.etag, version.digest)
        if version.digest == self._serving.digest:
            self._settle()
            return
        if self._seen == self._refused and _now() < self._retry_refused_at:
            return
        begin = time.monotonic()
        with step("download"):
            package = fetch(version, self._s3, self._cache, self._on_bytes)
        classifier = ready(package, threads=self._threads)
        self._serve(classifier, self._channel)
        self._settle()
        logger.info("%s is ready after %.1f s (channel %s)", version.release, time.monotonic() - begin, channel.name)
        self._to_remember = package
        self._remember()

    def _serve(self, classifier: OnnxClassifier, channel: str) -> None:
        """Step 6."""
        old, self._classifier = self._classifier, classifier
        labels = (classifier.manifest.name, classifier.manifest.version, channel)
        self._metrics.model_info.labels(*labels).set(1)
        if old is None:
            return
        self._metrics.model_swaps.inc()
        before = (old.manifest.name, old.manifest.version, channel)
        if before != labels:
            self._metrics.model_info.remove(*before)
        logger.info("model %s %s takes over from %s %s", *labels[:2], *before[:2])

    def _settle(self) -> None:
        """What was seen is what serves."""
        self._serving, self._refused = self._seen, None
        self._metrics.model_from_cache.set(0)

    def _remember(self) -> None:
        """Note what took over as the last good one, and remove old copies; again at each look until it succeeds."""
        package = self._to_remember
        if package is None:
            return
        assert self._s3 is not None  # noqa: S101 - for the type checker
        try:
            remember_good(package, self._uri, self._channel, self._s3.where, self._cache)
            remove_old(package.manifest.name, self._cache)
        except ModelCacheError as exc:
            self._metrics.model_watch_failures.labels("cache").inc()
            if not self._remember_fails:
                self._remember_fails = True
                logger.warning("%s serves, but a start without S3 would not find it: %s", self._name(), exc)
        else:
            self._to_remember, self._remember_fails = None, False

    def _serve_last_good(self, why: Exception) -> bool:
        """Serve the last good version in the cache; False if there is none."""
        assert self._s3 is not None  # noqa: S101 - for the type checker
        try:
            package = last_good(self._uri, self._channel, self._s3.where, self._cache)
            if package is None:
                return False
            classifier = ready(package, threads=self._threads)
        except ModelError as exc:
            logger.warning("the last good model in the cache cannot serve either: %s", exc)
            return False
        self._serve(classifier, self._channel)
        self._serving = _Seen(None, manifest_digest(package))
        self._metrics.model_from_cache.set(1)
        logger.warning("%s; the last good model in the cache serves: %s", why, self._name())
        return True

    def _refuse(self, exc: ModelRefusedError) -> bool:
        """Note a refusal; False if it is one that was noted before."""
        self._retry_refused_at = _now() + REFUSAL_RETRY_S
        if self._seen == self._refused:
            return False
        self._refused = self._seen
        self._metrics.model_refusals.labels(exc.reason).inc()
        return True

    def _name(self) -> str:
        manifest = self.current().manifest
        return f"{manifest.name} {manifest.version}"

    def _on_bytes(self, _count: int) -> None:
        if self._cancelled.is_set():
            raise StoppedError


class ModelWatch(Service):  # type: ignore[misc] # mode ships no types
    """Looks at the channel at a set pace, in a thread of its own."""

    def __init__(self, app: faust.App, model: ServedModel, poll_s: float, **kwargs: Any) -> None:  # noqa: ANN401
        """Prepare the watch.

        Args:
            app: the application, crashed where a look fails in a way that nobody foresaw.
            model: started.
            poll_s: seconds between two looks.
            kwargs: for `mode.Service`.
        """
        super().__init__(**kwargs)
        self._app = app
        self._model = model
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    async def on_start(self) -> None:
        """Start looking."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="model-watch", daemon=True)
        self._thread.start()

    async def on_stop(self) -> None:
        """Stop looking. A thread that waits for S3 is left alone; it holds nothing that anyone waits for."""
        self._stopping.set()
        self._model.cancel()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_S)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        pause = self._poll_s
        while not self._stopping.wait(pause):
            try:
                answered = self._model.look()
            except StoppedError:
                return
            # Also what is no Exception, such as a panic in a library of Rust: the thread must not end unnoticed.
            except BaseException as exc:  # noqa: BLE001 - crosses from the thread to the app, which stops with it
                if self._stopping.is_set():  # the connection was closed under it
                    return
                asyncio.run_coroutine_threadsafe(self._app.crash(exc), loop)
                return
            pause = self._poll_s if answered else max(self._poll_s, min(pause * 2, MAX_BACKOFF_S))
