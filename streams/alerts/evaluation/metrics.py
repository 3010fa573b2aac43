"""The metrics of the role `alerts`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AlertMetrics:
    """The metrics of one process. Tests make one for each evaluation.

    Attributes:
        registry: what the web server shows.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.active = Gauge("emostream_alerts_active", "1 if this process evaluates the rules.", registry=registry)
        self.read = Counter("emostream_alerts_windows_read", "Records of the windows topic read.", registry=registry)
        self.evaluated = Counter(
            "emostream_alerts_windows_evaluated", "Final windows of watched keywords decided.", registry=registry
        )
        self.silent = Counter(
            "emostream_alerts_windows_silent",
            "Windows decided that do not exist, because their keyword had no posts.",
            registry=registry,
        )
        self.late = Counter(
            "emostream_alerts_windows_late",
            "Final windows that came, or were corrected, after their span was decided. They change nothing.",
            registry=registry,
        )
        self.unknown = Counter(
            "emostream_alerts_windows_unknown",
            "Windows of watched keywords for which Redis could not tell in time whether they exist. They are no data.",
            registry=registry,
        )
        self.invalid = Counter(
            "emostream_alerts_windows_invalid", "Records of the windows topic that are no windows.", registry=registry
        )
        self.skipped = Counter(
            "emostream_alerts_windows_skipped",
            "Offsets of the windows topic that Kafka deleted before they were read.",
            registry=registry,
        )
        self.held = Gauge(
            "emostream_alerts_windows_held", "Final windows that wait for others of their span.", registry=registry
        )
        self.lag = Gauge(
            "emostream_alerts_lag_seconds",
            "Age of the oldest window that is published and not decided, in seconds; 0 if there is none.",
            registry=registry,
        )
        self.rules = Gauge("emostream_alerts_rules", "Rules that are enabled.", registry=registry)
        self.unreadable_rules = Gauge(
            "emostream_alerts_rules_unreadable", "Stored rules that this version cannot read.", registry=registry
        )
        self.opened = Counter(
            "emostream_alerts_opened", "Incidents that began, by severity.", ["severity"], registry=registry
        )
        self.closed = Counter(
            "emostream_alerts_closed", "Incidents that ended, by severity.", ["severity"], registry=registry
        )
        self.failures = Counter(
            "emostream_alerts_failures",
            "Evaluations that began anew after a failure, by its kind: unavailable, or overtaken by another process.",
            ["kind"],
            registry=registry,
        )
        self.waiting = Gauge("emostream_alerts_outbox_waiting", "Deliveries that wait.", registry=registry)
        self.failed = Gauge("emostream_alerts_outbox_failed", "Deliveries that were given up.", registry=registry)
        self.waiting_age = Gauge(
            "emostream_alerts_outbox_waiting_seconds", "Age of the oldest delivery that waits.", registry=registry
        )
