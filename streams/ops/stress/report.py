"""The result of a load, as numbers and as a judgement. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from streams.ops.stress.latencies import Distribution
from streams.ops.stress.load import LoadResult

LATE_MS = 5.0
"""Lag from which the generator itself has falsified a latency. Timers alone are up to 1 ms late."""

LATE_SHARE = 0.01
"""The share of late requests above which the generator could not keep the rate."""


@dataclass(frozen=True)
class Limits:
    """What makes a load a failure.

    Attributes:
        max_errors_pct: the most requests without a good answer, in percent.
        max_p99_ms: the highest p99 from the planned time; None for any.
    """

    max_errors_pct: float
    max_p99_ms: float | None


@dataclass(frozen=True)
class Report:
    """What a load has found, ready to be shown.

    Attributes:
        rate: requests a second that were asked for.
        late_pct: requests that the generator itself came to more than `LATE_MS` late, in percent.
    """

    workload: str
    rate: float
    result: LoadResult
    from_plan: Distribution
    from_send: Distribution
    lag: Distribution
    late_pct: float

    @classmethod
    def of(cls, workload: str, rate: float, result: LoadResult) -> Report:
        """Returns the report of a load."""
        lag = result.tally.lag.counts
        late = sum(count for us, count in lag.items() if us > LATE_MS * 1e3)
        return cls(
            workload,
            rate,
            result,
            Distribution.of(result.tally.from_plan),
            Distribution.of(result.tally.from_send),
            Distribution.of(result.tally.lag),
            100 * late / max(1, sum(lag.values())),
        )

    @property
    def failed_pct(self) -> float:
        """Requests without a good answer, in percent of those with an outcome."""
        tally = self.result.tally
        return 100 * tally.failed / max(1, tally.ok + tally.failed)

    @property
    def answered_per_s(self) -> float:
        """Good answers a second."""
        return self.result.tally.ok / self.result.measured_s if self.result.measured_s else 0.0

    def warnings(self) -> list[str]:
        """Returns what the reader must know before believing the figures."""
        tally, found = self.result.tally, []
        if self.late_pct > 100 * LATE_SHARE:
            found.append(
                f"The generator itself could not keep the rate: it came to {self.late_pct:.1f} % of the requests more "
                f"than {LATE_MS:g} ms late. Latencies from the planned time contain that. Use more --processes, or a "
                "machine of its own."
            )
        if tally.waited > LATE_SHARE * max(1, tally.offered):
            found.append(
                f"{100 * tally.waited / tally.offered:.1f} % of the requests waited for a free connection, because all "
                "were waiting for answers. With more --connections they would wait in the service instead."
            )
        return found

    def failures(self, limits: Limits) -> list[str]:
        """Returns the limits that were exceeded, one sentence each."""
        found = []
        if not self.result.tally.ok:
            found.append("no request was answered")
        if self.failed_pct > limits.max_errors_pct:
            found.append(f"{self.failed_pct:.2f} % of the requests failed; at most {limits.max_errors_pct:g} % may")
        p99 = self.from_plan.p99
        if limits.max_p99_ms is not None and p99 is not None and p99 > limits.max_p99_ms:
            found.append(f"the p99 is {p99:.1f} ms; at most {limits.max_p99_ms:g} ms are allowed")
        return found

    def as_dict(self, limits: Limits) -> dict[str, Any]:
        """Returns the report as the object of --json. Latencies are in milliseconds."""
        tally = self.result.tally

        def distribution(of: Distribution) -> dict[str, Any]:
            return {name: value for name, value in asdict(of).items() if name != "curve"}

        return {
            "workload": self.workload,
            "rate": self.rate,
            "measured_s": round(self.result.measured_s, 3),
            "interrupted": self.result.is_interrupted,
            "offered": tally.offered,
            "sent": tally.sent,
            "answered": tally.ok,
            "answered_per_s": round(self.answered_per_s, 1),
            "from_cache": tally.from_cache,
            "failed": tally.failed,
            "failed_pct": round(self.failed_pct, 4),
            "refused": tally.refused,
            "unfinished": tally.unfinished,
            "waited_for_connection": tally.waited,
            "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
            "errors": dict(sorted(tally.errors.items())),
            "latency_ms_from_plan": distribution(self.from_plan),
            "latency_ms_from_send": distribution(self.from_send),
            "lag_ms": distribution(self.lag),
            "late_pct": round(self.late_pct, 3),
            "generator_cpu_s": round(self.result.generator_cpu_s, 3),
            "warnings": self.warnings(),
            "failures": self.failures(limits),
        }
