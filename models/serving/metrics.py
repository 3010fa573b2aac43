"""The Prometheus metrics of a process that serves a model."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ModelMetrics:
    """The metrics of the served model, its swaps, its refusals and the polls of its channel."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge(
            "emostream_model_info", "1 for the model that serves.", ["name", "version", "channel"], registry=registry
        )
        self.swaps = Counter("emostream_model_swaps", "Models that took over while the process ran.", registry=registry)
        self.refusals = Counter(
            "emostream_model_refusals", "Models that were refused, by the failed step.", ["reason"], registry=registry
        )
        self.poll_failures = Counter(
            "emostream_model_poll_failures", "Failed polls of the channel.", ["cause"], registry=registry
        )
        self.last_poll = Gauge(
            "emostream_model_last_poll_seconds",
            "When the channel was last read, in seconds since 1970.",
            registry=registry,
        )
        self.from_cache = Gauge(
            "emostream_model_from_cache",
            "1 while the last good model serves because the channel's was not available at the start.",
            registry=registry,
        )
