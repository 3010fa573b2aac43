"""The Prometheus metrics of the warmer. docs/reference/metrics.md explains each of them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.gate.cpu_aware import Gate


class WarmMetrics:
    """The metrics of the warmer in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.answers = Counter(
            "emostream_warm_answers", "Answers that the warmer looked at, by result.", ["result"], registry=registry
        )
        self.rounds = Counter("emostream_warm_rounds", "Rounds that ended.", registry=registry)
        self.failed_rounds = Counter(
            "emostream_warm_failed_rounds",
            "Rounds that ended early because a server did not answer.",
            registry=registry,
        )
        self.waited = Counter(
            "emostream_warm_waited_seconds", "Seconds that a refresh waited for the gate.", registry=registry
        )
        self.gate_open = Gauge("emostream_warm_gate_open", "1 while the warmer may work.", registry=registry)
        self.load = Gauge(
            "emostream_warm_others_cpu",
            "CPU utilization by others over the last second, 0 to 1.",
            registry=registry,
        )

    def watch(self, gate: Gate) -> None:
        """Show the state of a gate."""
        self.gate_open.set_function(lambda: float(gate.state.is_open))
        self.load.set_function(lambda: gate.state.utilization or 0.0)
