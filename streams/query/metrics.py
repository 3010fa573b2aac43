"""The Prometheus metrics of the cache of answers. docs/reference/metrics.md explains each of them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class CacheMetrics:
    """The metrics of the cache of answers in one process. Every failure path has a counter here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        reads = Counter("emostream_cache_reads", "Questions, by what the cache had.", ["result"], registry=registry)
        self.hits = reads.labels("hit")
        self.stale = reads.labels("stale")
        self.misses = reads.labels("miss")
        self.coalesced = Counter(
            "emostream_cache_coalesced_reads",
            "Reads that shared one command to Redis with an earlier read.",
            registry=registry,
        )
        self.joined = Counter(
            "emostream_cache_joined",
            "Questions that waited for the computation of an identical question in the same process.",
            registry=registry,
        )
        self.lock_waits = Counter(
            "emostream_cache_lock_waits",
            "Computations that waited because another process computed the same answer.",
            registry=registry,
        )
        self.computations = Counter(
            "emostream_cache_computations", "Computations that began, by cause.", ["cause"], registry=registry
        )
        self.failed = Counter(
            "emostream_cache_computation_failures", "Computations that failed.", ["cause"], registry=registry
        )
        self.redis_failures = Counter(
            "emostream_cache_redis_failures",
            "Operations that Redis did not do, or that were not tried because it is away.",
            ["operation"],
            registry=registry,
        )
        self.too_large = Counter(
            "emostream_cache_too_large", "Answers that were not stored because of their size.", registry=registry
        )
        self.demand_failures = Counter(
            "emostream_demand_write_failures",
            "Writes of the questions that were asked to Redis that failed.",
            registry=registry,
        )
        self.unreadable = Counter(
            "emostream_cache_unreadable", "Entries that were computed again: they cannot be read.", registry=registry
        )
