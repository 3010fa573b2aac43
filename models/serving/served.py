"""The model that a process serves.

A new version takes over in six steps:

1. read the channel;
2. read the manifest, and compare its languages with those that the model is configured for;
3. download the files into the cache, and check the SHA-256 of every file;
4. load the networks, and warm them up;
5. classify the golden posts, and compare the answers;
6. replace the served model, in one assignment.

A caller asks for the model once per batch, so a swap falls between two batches. Steps 1 to 5 may run in any thread, and
batches are classified meanwhile. A version that fails a step is *refused*: the refusal is counted and logged, and the
old version keeps serving.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, NamedTuple

from connectors.s3 import client as s3_connector
from connectors.s3.client import S3
from models.errors import ModelCacheError, ModelError
from models.package.folder import ModelPackage, load_package
from models.registry.cache import fetch, manifest_digest
from models.registry.cache_retention import last_good, remember_good, remove_old
from models.registry.channels import require_channel
from models.registry.location import S3Location, parse_uri
from models.registry.version import read_version
from models.serving.metrics import ServedMetrics
from models.serving.source import ModelSource
from models.serving.steps import RETRIED_ERRORS, ModelRefusedError, cause_of, load_checked, step
from models.text.model_set import check_languages
from models.text.onnx_classifier import OnnxClassifier

logger = logging.getLogger(__name__)

REFUSAL_RETRY_S: Final = 300.0
"""Seconds until a refused version is tried again, because its files may have been repaired in S3."""

_now = time.monotonic


class StoppedError(Exception):
    """`ServedModel.cancel` was called. Ends a download in progress."""


class _Seen(NamedTuple):
    """What a poll read: the channel's ETag, and the digest of the version's manifest; None if it was not read."""

    etag: str | None = None
    digest: str | None = None


class ServedModel:
    """The classifier that a process uses: the package in a folder, or the version that a registry's channel points to.

    `current` and `cancel` are thread-safe. `start` and `poll` must be called from one thread at a time.
    """

    def __init__(self, source: ModelSource, metrics: ServedMetrics) -> None:
        """Prepare a served model. Nothing is read or sent yet.

        Raises:
            ModelError: The model URI is neither a registry nor a folder.
            RejectedError: The S3 endpoint is not valid.
        """
        self._source = source
        self._channel = source.channel
        languages = f" for {', '.join(source.languages)}" if source.languages else ""
        self._channel_name = f"channel {source.channel}{languages}"
        """The channel in messages."""
        self._cache = source.cache.expanduser()
        self._metrics = metrics
        self._location = parse_uri(source.uri)
        in_s3 = isinstance(self._location, S3Location)
        self._s3: S3 | None = s3_connector.connect(source.s3) if in_s3 else None
        self.poll_s: float = source.poll_s if in_s3 else 0.0
        """Seconds between two polls; 0 if the model never changes."""
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
        """Returns the model to classify the next batch with.

        Raises:
            RuntimeError: `start` was not called, or failed.
        """
        if self._classifier is None:
            raise RuntimeError("no model has been loaded: call start first")
        return self._classifier

    def start(self) -> None:
        """Load the model. If the channel's version is unavailable or refused, the last good version serves.

        The last good version of a channel is the one that was loaded and checked last
        (`models.registry.cache_retention`).

        Raises:
            ModelError: There is no such model, or it was refused or cannot be loaded now, and the cache has no last
                good version.
            UnavailableError: S3 did not answer, and the cache has no last good version.
            RejectedError: S3 rejected the call, and the cache has no last good version.
            StoppedError: `cancel` was called.
        """
        if not isinstance(self._location, S3Location):
            self._serve(self._load(load_package(self._location)), "")
            logger.info("%s is ready (folder %s, not watched)", self._name(), self._location)
            return
        try:
            self._follow()
        except ModelRefusedError as exc:
            self._refuse(exc)
            if not self._serve_last_good(exc):
                raise
        except RETRIED_ERRORS as exc:
            self._failing = True
            self._metrics.poll_failed(cause_of(exc))
            if not self._serve_last_good(exc):
                raise
        else:
            self._metrics.last_poll.set_to_current_time()

    def poll(self) -> bool:
        """Read the channel. A new version takes over or is refused.

        Returns:
            True if the channel was read, and its version serves or was refused. False after one of
            `RETRIED_ERRORS`: the served model stays, and a later poll may succeed.

        Raises:
            StoppedError: `cancel` was called.
        """
        self._remember()
        try:
            self._follow()
        except ModelRefusedError as exc:
            if self._refuse(exc):
                logger.error(
                    "the model on %s is refused (%s), %s keeps serving: %s",
                    self._channel_name,
                    exc.reason,
                    self._name(),
                    exc,
                )
        except RETRIED_ERRORS as exc:
            self._metrics.poll_failed(cause_of(exc))
            if not self._failing:
                self._failing = True
                logger.warning("the %s cannot be followed, %s keeps serving: %s", self._channel_name, self._name(), exc)
            return False
        if self._failing:
            self._failing = False
            logger.info("the %s can be followed again", self._channel_name)
        self._metrics.last_poll.set_to_current_time()
        return True

    def cancel(self) -> None:
        """End a download, or a wait for another process's download, because the process stops. Thread-safe."""
        self._cancelled.set()

    def close(self) -> None:
        """Close the connection to S3."""
        if self._s3 is not None:
            self._s3.close()

    def _follow(self) -> None:
        """Do steps 1 to 6. End early if the channel names the version that serves, or one that was refused recently.

        Raises:
            ModelRefusedError: The version failed a step.
            UnavailableError, RejectedError, ModelCacheError, LocalResourceError: As in `RETRIED_ERRORS`.
            StoppedError: `cancel` was called.
        """
        assert self._s3 is not None  # noqa: S101 - for the type checker: registries only
        assert isinstance(self._location, S3Location)  # noqa: S101
        self._seen = _Seen()
        # Step 1: read the channel.
        with step("channel"):
            channel = require_channel(self._location, self._s3, self._channel)
        if self._refused is None and channel.etag == self._serving.etag:
            return
        self._seen = _Seen(channel.etag)
        # Step 2: read the manifest, and compare its languages with those that the model is configured for.
        with step("manifest"):
            version = read_version(self._location, self._s3, channel.pointer.release)
        self._seen = _Seen(channel.etag, version.digest)
        if version.digest == self._serving.digest:
            self._settle()
            return
        if self._seen == self._refused and _now() < self._retry_refused_at:
            return
        with step("languages"):
            check_languages(version.manifest, self._source.languages)
        begin = time.monotonic()
        # Step 3: download the files.
        with step("download"):
            package = fetch(version, self._s3, self._cache, self._on_bytes)
        # Steps 4 and 5: load the networks, and classify the golden posts.
        classifier = self._load(package)
        # Step 6: replace the served model.
        self._serve(classifier, self._channel)
        self._settle()
        logger.info("%s is ready after %.1f s (%s)", version.release, time.monotonic() - begin, self._channel_name)
        self._to_remember = package
        self._remember()

    def _load(self, package: ModelPackage) -> OnnxClassifier:
        """Load a verified package, and check its languages and its golden posts.

        Raises:
            ModelRefusedError, LocalResourceError: As `load_checked`; the reason may also be `languages`.
        """
        with step("languages"):
            check_languages(package.manifest, self._source.languages)
        return load_checked(package, threads=self._source.threads)

    def _serve(self, classifier: OnnxClassifier, channel: str) -> None:
        """Replace the served model (step 6), and update the metrics."""
        old, self._classifier = self._classifier, classifier
        labels = (classifier.name, classifier.version, channel)
        self._metrics.serves(*labels)
        if old is None:
            return
        self._metrics.swaps.inc()
        before = (old.name, old.version, channel)
        if before != labels:
            self._metrics.no_longer_serves(*before)
        logger.info("model %s %s takes over from %s %s", *labels[:2], *before[:2])

    def _settle(self) -> None:
        """Record that the version of the last poll serves."""
        self._serving, self._refused = self._seen, None
        self._metrics.from_cache.set(0)

    def _remember(self) -> None:
        """Record the new version as the last good one, and remove old copies; repeated by the next poll if it fails."""
        package = self._to_remember
        if package is None:
            return
        assert self._s3 is not None  # noqa: S101 - for the type checker
        try:
            remember_good(package, self._source.uri, self._channel, self._s3.where, self._cache)
            remove_old(package.manifest.name, self._cache)
        except ModelCacheError as exc:
            self._metrics.poll_failed("cache")
            if not self._remember_fails:
                self._remember_fails = True
                logger.warning("%s serves, but a start without S3 would not find it: %s", self._name(), exc)
        else:
            self._to_remember, self._remember_fails = None, False

    def _serve_last_good(self, why: Exception) -> bool:
        """Serve the last good version, and return whether there is one that can be loaded."""
        assert self._s3 is not None  # noqa: S101 - for the type checker
        try:
            package = last_good(self._source.uri, self._channel, self._s3.where, self._cache)
            if package is None:
                return False
            classifier = self._load(package)
        except ModelError as exc:
            logger.warning("the last good model in the cache cannot serve either: %s", exc)
            return False
        self._serve(classifier, self._channel)
        self._serving = _Seen(None, manifest_digest(package))
        self._metrics.from_cache.set(1)
        logger.warning("%s; the last good model in the cache serves: %s", why, self._name())
        return True

    def _refuse(self, exc: ModelRefusedError) -> bool:
        """Count a refusal, and return whether it is new: False if the same version was refused before."""
        self._retry_refused_at = _now() + REFUSAL_RETRY_S
        if self._seen == self._refused:
            return False
        self._refused = self._seen
        self._metrics.refused(exc.reason)
        return True

    def _name(self) -> str:
        serving = self.current()
        return f"{serving.name} {serving.version}"

    def _on_bytes(self, _count: int) -> None:
        if self._cancelled.is_set():
            raise StoppedError
