"""The Prometheus metrics of a process that serves models."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

MAIN: Final = "*"
"""The label `languages` of the main model, which reads every language that no other model is configured for."""


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
