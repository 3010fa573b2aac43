"""The Prometheus metrics of the delivery of alerts. docs/reference/metrics.md explains each of them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

TOPIC = "(topic)"
"""The label of the topic of alerts, which is no channel of the file. No channel may have this name."""


class DeliveryMetrics:
    """The metrics of the deliveries of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the metrics to a registry."""
        self.registry = registry
        self.deliveries = Counter(
            "emostream_alerts_deliveries",
            "Tries to tell a channel of an incident, by result.",
            ["channel", "result"],
            registry=registry,
        )
        self.seconds = Histogram(
            "emostream_alerts_delivery_seconds",
            "Seconds that a channel took to accept or refuse a message.",
            ["channel"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.explanations = Counter(
            "emostream_alerts_explanations",
            "Incidents whose words and posts were looked for, by result.",
            ["result"],
            registry=registry,
        )
        self.outages = Counter(
            "emostream_alerts_delivery_outages",
            "Times that the deliveries paused because Postgres did not answer.",
            registry=registry,
        )
