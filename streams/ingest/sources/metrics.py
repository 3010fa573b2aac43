"""The metrics of a process that runs sources. docs/reference/metrics.md explains each."""

from __future__ import annotations

import time
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, platform_collector, process_collector


class IngestMetrics:
    """All metrics of the process. Each has the label `source`, the name of an instance."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=registry)
        platform_collector.PlatformCollector(registry=registry)
        labels = ["source"]
        self.posts = Counter("emostream_source_posts", "Posts that Kafka has confirmed.", labels, registry=registry)
        self.refused = Counter(
            "emostream_source_refused",
            "Events that became no post, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.repaired = Counter(
            "emostream_source_repaired",
            "Posts that were changed so that they can be stored, by problem.",
            ["source", "problem"],
            registry=registry,
        )
        self.duplicates = Counter(
            "emostream_source_duplicates",
            "Posts that the source repeated, and that were not sent again.",
            labels,
            registry=registry,
        )
        self.deletions = Counter(
            "emostream_source_deletions", "Deletions that the network announced.", labels, registry=registry
        )
        self.reconnects = Counter(
            "emostream_source_reconnects", "Connections that failed or ended.", labels, registry=registry
        )
        self.gaps = Counter(
            "emostream_source_gaps",
            "Gaps: times whose posts the network could not replay. A value above 0 is data loss.",
            labels,
            registry=registry,
        )
        self.gap_seconds = Counter(
            "emostream_source_gap_seconds",
            "Seconds of these gaps, as far as they are known.",
            labels,
            registry=registry,
        )
        self.idle = Gauge(
            "emostream_source_idle_seconds", "Seconds since the last event of the network.", labels, registry=registry
        )
        self.lag = Gauge(
            "emostream_source_lag_seconds",
            "Seconds between the network's time of the last event and now, when it was confirmed.",
            labels,
            registry=registry,
        )
        self.active = Gauge(
            "emostream_source_active",
            "Whether this process runs the source: 1, or 0 while another process does.",
            labels,
            registry=registry,
        )


class InstanceMetrics:
    """The metrics of one instance of a source."""

    def __init__(self, metrics: IngestMetrics, instance: str) -> None:
        self.posts = metrics.posts.labels(instance)
        self.duplicates = metrics.duplicates.labels(instance)
        self.deletions = metrics.deletions.labels(instance)
        self.reconnects = metrics.reconnects.labels(instance)
        self.gaps = metrics.gaps.labels(instance)
        self.gap_seconds = metrics.gap_seconds.labels(instance)
        self.active = metrics.active.labels(instance)
        self._lag = metrics.lag.labels(instance)
        self._refused = metrics.refused
        self._repaired = metrics.repaired
        self._instance = instance
        self._heard = time.monotonic()
        metrics.idle.labels(instance).set_function(lambda: time.monotonic() - self._heard)

    def refused(self, reason: str) -> None:
        """Count an event that became no post."""
        self._refused.labels(self._instance, reason).inc()

    def repaired(self, problem: str) -> None:
        """Count a post that was changed so that it can be stored."""
        self._repaired.labels(self._instance, problem).inc()

    def note(self, at: datetime | None, heard: float) -> None:
        """Note the network's time of the last confirmed event, and when the last event came (monotonic seconds)."""
        if heard > self._heard and at is not None:
            self._lag.set(max(0.0, time.time() - at.timestamp()))
        self._heard = heard
