"""The Prometheus metrics of authentication and rate limits."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from streams.access.errors import Refusal


class AccessMetrics:
    """Counts refused requests, and what could not be read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._refused = Counter(
            "emostream_api_refused", "Requests that were refused, by the reason.", ["reason"], registry=registry
        )
        for refusal in Refusal:
            self._refused.labels(refusal.value)
        self.key_failures = Counter(
            "emostream_api_key_read_failures",
            "Readings of the API keys in Postgres that failed and are repeated.",
            registry=registry,
        )
        self.issuer_failures = Counter(
            "emostream_api_issuer_failures",
            "Readings of the issuer's keys that failed and are repeated.",
            registry=registry,
        )
        self.local_limits = Counter(
            "emostream_api_local_limits",
            "Requests that were counted against the limit by this process alone, because Redis did not answer.",
            registry=registry,
        )

    def refused(self, refusal: Refusal) -> None:
        """Count a request that is refused."""
        self._refused.labels(refusal.value).inc()
