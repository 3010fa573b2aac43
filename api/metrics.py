"""The Prometheus metrics of a process of the HTTP service. docs/reference/metrics.md explains each metric."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, platform_collector, process_collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ApiMetrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        process_collector.ProcessCollector(registry=registry)
        platform_collector.PlatformCollector(registry=registry)
        self.requests = Counter(
            "emostream_http_requests",
            "Requests that were answered, by route and status.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "emostream_http_request_seconds",
            "Seconds from a request to the end of its answer; streams are left out.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("emostream_http_requests_in_flight", "Requests in progress.", registry=registry)
        self.live_clients = Gauge("emostream_live_clients", "Clients of live streams.", registry=registry)
