"""The metrics of a process that runs sources. docs/reference/metrics.md explains each."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, platform_collector, process_collector

from streams.ingest.sources.rate import Rate
from streams.records import SourcePosition, SourceReport, Timestamp


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
        self.kept = Counter(
            "emostream_source_kept",
            "Posts that passed the selection by keywords. Those that it dropped are refused as no_keyword.",
            labels,
            registry=registry,
        )
        self.cut = Counter(
            "emostream_source_keywords_cut",
            "Posts that had more keywords than a post may have, and kept the first of them.",
            labels,
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
        self.unmatched = Counter(
            "emostream_source_deletions_unmatched",
            "Deletions of accounts that cannot be applied, because posts have no authors.",
            labels,
            registry=registry,
        )
        self.reconnects = Counter(
            "emostream_source_reconnects", "Connections that failed or ended.", labels, registry=registry
        )
        self.retries = Counter(
            "emostream_source_retries",
            "Requests beside a stream that failed, and that the source repeats by itself.",
            labels,
            registry=registry,
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
            "Seconds by which the network's time of the last event was behind when it was confirmed.",
            labels,
            registry=registry,
        )
        self.active = Gauge(
            "emostream_source_active",
            "Whether this process runs the source: 1, or 0 while another process does.",
            labels,
            registry=registry,
        )


class _Total:
    """A total that goes on from the stored one, beside its Prometheus counter, which begins at 0 with the process."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        self.value += amount
        self._counter.inc(amount)

    def add_to_total(self) -> None:
        """Count what a former process has counted in its own metrics, but could not store any more."""
        self.value += 1


class InstanceMetrics:
    """The metrics of one instance of a source, and the report that is stored with its position."""

    def __init__(self, metrics: IngestMetrics, instance: str) -> None:
        self.posts = _Total(metrics.posts.labels(instance))
        self.kept = _Total(metrics.kept.labels(instance))
        self.cut = _Total(metrics.cut.labels(instance))
        self.duplicates = _Total(metrics.duplicates.labels(instance))
        self.deletions = _Total(metrics.deletions.labels(instance))
        self.unmatched = metrics.unmatched.labels(instance)
        self.reconnects = _Total(metrics.reconnects.labels(instance))
        self.retries = metrics.retries.labels(instance)
        self.gaps = metrics.gaps.labels(instance)
        self.gap_seconds = _Total(metrics.gap_seconds.labels(instance))
        self._totals = (
            self.posts,
            self.kept,
            self.cut,
            self.duplicates,
            self.deletions,
            self.reconnects,
            self.gap_seconds,
        )
        self.active = metrics.active.labels(instance)
        self._lag = metrics.lag.labels(instance)
        self._by_reason = metrics.refused
        self._by_problem = metrics.repaired
        self._refused: dict[str, _Total] = {}
        self._repaired: dict[str, _Total] = {}
        self._instance = instance
        self._since = Timestamp.now(UTC)
        self._rate = Rate(0, time.monotonic())
        self._at: datetime | None = None
        self._lag_s: float | None = None
        self._heard: float | None = None
        started = time.monotonic()
        metrics.idle.labels(instance).set_function(lambda: time.monotonic() - (self._heard or started))

    def resume(self, position: SourcePosition | None) -> None:
        """Let the totals go on from the stored ones; from 0 if there are none. The Prometheus counters stay."""
        stored = position.report if position is not None else None
        known = stored or SourceReport(host="", since=Timestamp.now(UTC))
        self._at = position.at if position is not None else None
        self._since = known.since
        values = (known.posts, known.kept, known.cut, known.duplicates, known.deletions, known.reconnects)
        for total, value in zip(self._totals, (*values, known.gap_seconds), strict=True):
            total.value = value
        for total in (*self._refused.values(), *self._repaired.values()):
            total.value = 0
        for reason, count in known.refused.items():
            self._refused_for(reason).value = count
        for problem, count in known.repaired.items():
            self._repaired_for(problem).value = count
        self._rate = Rate(known.posts, time.monotonic())

    def refused(self, reason: str) -> None:
        """Count an event that became no post."""
        self._refused_for(reason).inc()

    def repaired(self, problem: str) -> None:
        """Count a post that was changed so that it can be stored."""
        self._repaired_for(problem).inc()

    def _refused_for(self, reason: str) -> _Total:
        if reason not in self._refused:
            self._refused[reason] = _Total(self._by_reason.labels(self._instance, reason))
        return self._refused[reason]

    def _repaired_for(self, problem: str) -> _Total:
        if problem not in self._repaired:
            self._repaired[problem] = _Total(self._by_problem.labels(self._instance, problem))
        return self._repaired[problem]

    def note(self, at: datetime | None, heard: float | None) -> None:
        """Note the network's time of the last confirmed event, and when the last event came (monotonic seconds).

        Each is None if there was none yet.
        """
        if at is not None and at != self._at:
            self._at, self._lag_s = at, max(0.0, time.time() - at.timestamp())
            self._lag.set(self._lag_s)
        if heard is not None:
            self._heard = heard
        self._rate.note(int(self.posts.value), time.monotonic())

    def counted(self) -> tuple[float, ...]:
        """Returns every total. It differs from an earlier one if something was counted since."""
        return tuple(total.value for total in (*self._totals, *self._refused.values(), *self._repaired.values()))

    def report(self, failure: str | None = None) -> SourceReport:
        """Returns the report that is stored with the position; `failure` is why the source ends for good."""
        now = time.monotonic()
        return SourceReport(
            host=socket.gethostname(),
            since=self._since,
            heard_at=None if self._heard is None else Timestamp.now(UTC) - timedelta(seconds=now - self._heard),
            lag_s=self._lag_s,
            posts_per_second=self._rate.per_second(now),
            posts=int(self.posts.value),
            kept=int(self.kept.value),
            cut=int(self.cut.value),
            duplicates=int(self.duplicates.value),
            deletions=int(self.deletions.value),
            reconnects=int(self.reconnects.value),
            gap_seconds=self.gap_seconds.value,
            refused={reason: int(total.value) for reason, total in self._refused.items()},
            repaired={problem: int(total.value) for problem, total in self._repaired.items()},
            failure=failure,
        )
