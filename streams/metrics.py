"""The Prometheus metrics of a worker process, and those that it shares with the sink.

A process has one instance and serves it at `/metrics`. docs/reference/metrics.md explains each metric.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    platform_collector,
    process_collector,
)

from models.serving.metrics import ModelMetrics

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_POSTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


class ProcessMetrics:
    """The metrics that a worker process and a sink share."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=registry)
        platform_collector.PlatformCollector(registry=registry)
        self.dead = Counter("emostream_dead_letters", "Dead letters written.", ["reason"], registry=registry)
        self.rewinds = Counter(
            "emostream_rewinds", "Rewinds to the stored positions.", ["stage", "cause"], registry=registry
        )
        self.gap_offsets = Counter(
            "emostream_gap_offsets",
            "Offsets that Kafka deleted before they were read. A value above 0 is data loss.",
            ["topic"],
            registry=registry,
        )
        self.unreadable = Counter(
            "emostream_unreadable_offsets",
            "Offsets of batches that cannot be read, and that have a dead letter. A value above 0 is data loss.",
            ["topic"],
            registry=registry,
        )


class Metrics(ProcessMetrics):
    """The metrics of a worker process. Every failure path has a counter here."""

    def __init__(self) -> None:
        super().__init__()
        registry = self.registry
        self.classified = Counter(
            "emostream_posts_classified", "Posts whose classification the broker has confirmed.", registry=registry
        )
        self.unsupported = Counter(
            "emostream_unsupported",
            "Posts without a label, because no model reads their language.",
            registry=self.registry,
        )
        self.answered = Counter(
            "emostream_tier_answers",
            "Classified posts, by the model and its tier that answered.",
            ["model", "tier"],
            registry=registry,
        )
        self.repaired = Counter(
            "emostream_posts_repaired",
            "Posts that were repaired instead of rejected, by what was repaired.",
            ["problem"],
            registry=registry,
        )
        self.batch_posts = Histogram(
            "emostream_batch_posts", "Posts in a batch.", ["stage"], buckets=_POSTS, registry=registry
        )
        self.batch_seconds = Histogram(
            "emostream_batch_seconds", "Seconds per batch, by step.", ["step"], buckets=_SECONDS, registry=registry
        )
        self.counted = Counter(
            "emostream_posts_counted",
            "New posts, neither repeated nor duplicate; those too late for some or all windows are included.",
            registry=registry,
        )
        self.unfetched = Counter(
            "emostream_posts_unfetched",
            "Own records: classified posts that this process wrote, and counted without fetching them from Kafka.",
            registry=registry,
        )
        self.repeated = Counter(
            "emostream_posts_repeated", "Deliveries of a post that had been counted before.", registry=registry
        )
        self.duplicates = Counter(
            "emostream_posts_duplicate",
            "Posts that their producer had sent before, and so not counted again.",
            registry=registry,
        )
        self.ids_forgotten = Counter(
            "emostream_ids_forgotten",
            "Ids of posts of sources that were forgotten early, because there were too many.",
            registry=registry,
        )
        self.too_late = Counter(
            "emostream_posts_too_late", "Posts whose window had left the retention.", ["size"], registry=registry
        )
        self.published = Counter(
            "emostream_windows_published", "Records written to the windows topic.", registry=registry
        )
        self.emit_failures = Counter(
            "emostream_emit_failures", "Publications of windows that failed, by cause.", ["cause"], registry=registry
        )
        self.totals_failures = Counter(
            "emostream_totals_failures", "Records of the running totals that could not be written.", registry=registry
        )
        self.shards_owned = Gauge(
            "emostream_shards_owned", "Shards whose windows this worker process publishes.", registry=registry
        )
        self.watermark = Gauge(
            "emostream_watermark_seconds", "Watermark of the shard, seconds since 1970.", ["shard"], registry=registry
        )
        self.generation = Gauge(
            "emostream_window_generation",
            "Number of the current generation of the window tables; each rebuild raises it.",
            registry=registry,
        )
        self.model = ModelMetrics(registry)

    def render(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
