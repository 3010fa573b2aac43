"""The Prometheus metrics of a process that serves models."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MAIN: Final = "*"
"""The label `languages` of the main model, which reads every language that no other model is configured for."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS: Final = (16, 64, 256, 1024, 2048, 4096, 8192, 16384, 65536)


class ModelMetrics:
    """The metrics of the served models, their swaps, their refusals and the polls of their channels.

    The label `languages` tells the models apart: `MAIN`, or the languages that a model is configured for, separated by
    commas.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge(
            "emostream_model_info",
            "1 for each model that serves.",
            ["languages", "name", "version", "channel"],
            registry=registry,
        )
        self.swaps = Counter(
            "emostream_model_swaps",
            "Models that took over while the process ran.",
            ["languages"],
            registry=registry,
        )
        self.refusals = Counter(
            "emostream_model_refusals",
            "Models that were refused, by the failed step.",
            ["languages", "reason"],
            registry=registry,
        )
        self.poll_failures = Counter(
            "emostream_model_poll_failures", "Failed polls of the channel.", ["languages", "cause"], registry=registry
        )
        self.last_poll = Gauge(
            "emostream_model_last_poll_seconds",
            "When the channel was last read, in seconds since 1970.",
            ["languages"],
            registry=registry,
        )
        self.from_cache = Gauge(
            "emostream_model_from_cache",
            "1 while the last good model serves because the channel's was not available at the start.",
            ["languages"],
            registry=registry,
        )


class ServedMetrics:
    """The metrics of one served model."""

    def __init__(self, metrics: ModelMetrics, languages: str = MAIN) -> None:
        """Create the metrics of one model; `languages` is its label."""
        self._metrics = metrics
        self._languages = languages
        self.swaps = metrics.swaps.labels(languages)
        self.last_poll = metrics.last_poll.labels(languages)
        self.from_cache = metrics.from_cache.labels(languages)

    def serves(self, name: str, version: str, channel: str) -> None:
        """Set the gauge of a version that serves from now on."""
        self._metrics.info.labels(self._languages, name, version, channel).set(1)

    def no_longer_serves(self, name: str, version: str, channel: str) -> None:
        """Remove the gauge of a version that served before."""
        self._metrics.info.remove(self._languages, name, version, channel)

    def refused(self, reason: str) -> None:
        """Count a refused version, by the step that failed."""
        self._metrics.refusals.labels(self._languages, reason).inc()

    def poll_failed(self, cause: str) -> None:
        """Count a poll that failed and is repeated."""
        self._metrics.poll_failures.labels(self._languages, cause).inc()


class BatchMetrics:
    """The metrics of a `MicroBatcher`. The time in the queue and the time of the model are told apart."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue_seconds = Histogram(
            "emostream_inference_queue_seconds",
            "Seconds until the first text of a request is in a run.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.run_seconds = Histogram(
            "emostream_inference_run_seconds", "Seconds of a run.", buckets=_SECONDS, registry=registry
        )
        self.run_texts = Histogram(
            "emostream_inference_run_texts", "Texts in a run.", buckets=_TEXTS, registry=registry
        )
        self.run_tokens = Histogram(
            "emostream_inference_run_tokens", "Estimated tokens in a run.", buckets=_TOKENS, registry=registry
        )
        self.waiting_texts = Gauge(
            "emostream_inference_waiting_texts", "Texts of requests without a complete answer.", registry=registry
        )
        self.waiting_bytes = Gauge(
            "emostream_inference_waiting_bytes", "The size of these texts as UTF-8.", registry=registry
        )
        self.refused = Counter(
            "emostream_inference_refused", "Requests that were not queued.", ["reason"], registry=registry
        )
        self.abandoned = Counter(
            "emostream_inference_abandoned", "Requests whose caller left before the answer.", registry=registry
        )
        self.failures = Counter("emostream_inference_failures", "Runs that failed.", registry=registry)
