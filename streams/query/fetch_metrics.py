"""The Prometheus metrics of fetches. docs/reference/metrics.md explains each of them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class FetchMetrics:
    """The metrics of the fetches of one process. Every failure path has a counter here.

    The label `source` is the name of a table in sources.toml.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.fetches = Counter(
            "emostream_fetches",
            "Questions for which networks were searched, by whether all was found and classified in time.",
            ["result"],
            registry=registry,
        )
        self.searches = Counter(
            "emostream_fetch_searches",
            "Searches of networks, by how they ended.",
            ["source", "result"],
            registry=registry,
        )
        self.found = Counter(
            "emostream_fetch_posts_found",
            "Posts that have the keyword, and are new in the fetch.",
            ["source"],
            registry=registry,
        )
        self.refused = Counter(
            "emostream_fetch_posts_refused",
            "Posts that a search brought and that were not taken, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.classified = Counter("emostream_fetch_posts_classified", "Posts of answers.", registry=registry)
        self.unclassified = Counter(
            "emostream_fetch_posts_unclassified",
            "Posts that were found and are in no answer, by cause. They are sent to the raw topic too.",
            ["cause"],
            registry=registry,
        )
        self.sent = Counter(
            "emostream_fetch_posts_sent", "Posts of fetches that Kafka has confirmed.", registry=registry
        )
        self.known = Counter(
            "emostream_fetch_posts_known",
            "Posts that were not sent, because they had been sent before, by what knew that.",
            ["by"],
            registry=registry,
        )
        self.lost = Counter(
            "emostream_fetch_posts_lost",
            "Posts that were not sent and are dropped, by cause. Answers have counted them, windows do not.",
            ["cause"],
            registry=registry,
        )
        self.kept = Gauge("emostream_fetch_posts_kept", "Posts that wait to be sent.", registry=registry)
        self.kept_bytes = Gauge("emostream_fetch_kept_bytes", "Memory of these posts, in bytes.", registry=registry)
        self.send_failures = Counter(
            "emostream_fetch_send_failures",
            "Attempts to send that failed and are repeated, by the step that failed.",
            ["step"],
            registry=registry,
        )
