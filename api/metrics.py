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
        self.in_flight = 0
        """Requests in progress."""
        Gauge("emostream_http_requests_in_flight", "Requests in progress.", registry=registry).set_function(
            lambda: self.in_flight
        )
        self.live_clients = Gauge("emostream_live_clients", "Clients of live streams.", registry=registry)
        self.live_failures = Counter(
            "emostream_live_feed_failures",
            "Failures to read a topic for the live streams. Reading begins again.",
            ["topic"],
            registry=registry,
        )
        self.restarts = Counter(
            "emostream_http_process_restarts",
            "Restarts of this process of the HTTP service after it had ended by itself.",
            registry=registry,
        )
        # `labels` checks and joins its arguments under a lock each time. There are few routes and statuses.
        self._counted: dict[tuple[str, str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}

    def count(self, route: str, method: str, status: int) -> None:
        """Count a request."""
        key = (route, method, status)
        if (child := self._counted.get(key)) is None:
            child = self._counted[key] = self.requests.labels(route, method, str(status))
        child.inc()

    def time(self, route: str, seconds: float) -> None:
        """Record the time of a request."""
        if (child := self._timed.get(route)) is None:
            child = self._timed[route] = self.seconds.labels(route)
        child.observe(seconds)
