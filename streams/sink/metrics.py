"""The Prometheus metrics of the sink. A process has one instance, and serves it at `/metrics`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from streams.metrics import ProcessMetrics

if TYPE_CHECKING:
    from streams.gate.cpu_aware import Gate

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)


class SinkMetrics(ProcessMetrics):
    """The metrics of a sink. Every failure path has a counter here."""

    def __init__(self) -> None:
        super().__init__()
        registry = self.registry
        self.written = Counter(
            "emostream_sink_records", "Records whose transaction was committed.", ["topic"], registry=registry
        )
        self.write_seconds = Histogram(
            "emostream_sink_write_seconds", "Seconds per transaction.", ["topic"], buckets=_SECONDS, registry=registry
        )
        self.gate_open = Gauge("emostream_sink_gate_open", "1 while the sink may write.", registry=registry)
        self.gate_since = Gauge(
            "emostream_sink_gate_since_seconds",
            "When the gate last opened or closed, seconds since 1970.",
            registry=registry,
        )
        self.gate_resets = Gauge(
            "emostream_sink_gate_resets",
            "Resets of the gate: after a missing or implausible sample it forgets its samples and closes.",
            registry=registry,
        )
        self.utilization = Gauge(
            "emostream_sink_cpu_utilization",
            "CPU utilization of everything else, 0 to 1; NaN if unknown.",
            registry=registry,
        )
        self.pressure = Gauge(
            "emostream_sink_pressure",
            "Share of the last second in which some task stalled, 0 to 1; NaN if unknown.",
            registry=registry,
        )
        self.backlog_records = Gauge(
            "emostream_sink_backlog_records",
            "Offsets that wait to be written.",
            ["topic", "partition"],
            registry=registry,
        )
        self.backlog_seconds = Gauge(
            "emostream_sink_backlog_seconds", "Seconds that the oldest record has waited.", ["topic"], registry=registry
        )
        self.retention_share = Gauge(
            "emostream_sink_retention_share",
            "Age of the oldest record that waits, as a share of the topic's retention. At 1, Kafka deletes it.",
            ["topic"],
            registry=registry,
        )
        self.last_write = Gauge(
            "emostream_sink_last_write_seconds",
            "When a transaction was last committed, seconds since 1970.",
            ["topic"],
            registry=registry,
        )
        self.backlog_failures = Counter(
            "emostream_sink_backlog_failures",
            "Reads of the backlog that Kafka or Postgres did not answer.",
            registry=registry,
        )
        self.holes = Counter(
            "emostream_sink_holes", "Holes that backfills found.", ["topic", "kind"], registry=registry
        )
        self.rows_filled = Counter(
            "emostream_sink_rows_filled", "Rows of posts that backfills wrote.", registry=registry
        )
        self.windows_filled = Counter(
            "emostream_sink_windows_filled", "Windows that backfills copied from Redis.", registry=registry
        )
        self.windows_rejected = Counter(
            "emostream_sink_windows_rejected", "Windows in Redis that Postgres rejects.", registry=registry
        )
        self.backfill_failures = Counter(
            "emostream_sink_backfill_failures",
            "Backfills that ended early because a server did not answer.",
            registry=registry,
        )
        self.last_backfill = Gauge(
            "emostream_sink_last_backfill_seconds",
            "When a backfill was last completed, seconds since 1970; 0 before the first.",
            registry=registry,
        )

    def watch(self, gate: Gate) -> None:
        """Show the state of this gate, which is read at each scrape."""
        self.gate_open.set_function(lambda: gate.state.is_open)
        self.gate_since.set_function(lambda: gate.state.since)
        self.gate_resets.set_function(lambda: gate.resets)
        self.utilization.set_function(lambda: _number(gate.state.utilization))
        self.pressure.set_function(lambda: _number(gate.state.pressure))


def values_by_topic(metric: Counter | Gauge) -> dict[str, float]:
    """Returns the values of a metric by its label `topic`; a topic without a value is left out."""
    (family,) = metric.collect()
    return {one.labels["topic"]: one.value for one in family.samples if not one.name.endswith("_created")}


def _number(share: float | None) -> float:
    return math.nan if share is None else share
