"""What a load has found so far, added up over processes. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from streams.ops.stress.latencies import Latencies

REFUSALS = frozenset({429, 503})
"""Statuses by which the service refuses a request because it has too many: the rate limit, and the full queue."""

OK_FROM, OK_BELOW = 200, 300


@dataclass
class Tally:
    """The counted requests of a load: those whose planned time is after the warm-up.

    Attributes:
        offered: requests whose planned time has come.
        sent: requests that were sent.
        ok: answers with a status of 2xx.
        from_cache: those of them that say that they come from the cache.
        statuses: other answers, by status.
        errors: requests without an answer, by kind of error.
        unfinished: requests that were waiting or in flight when the load was interrupted.
        waited: requests that had to wait for a free connection.
        from_plan: latency from the planned time, of the answers with 2xx and of requests that were given up.
        from_send: the same requests, from sending.
        lag: how late the generator itself was.
        answered_at: answers with 2xx, by second.
        failed_at: other outcomes, by second.
    """

    offered: int = 0
    sent: int = 0
    ok: int = 0
    from_cache: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0
    waited: int = 0
    from_plan: Latencies = field(default_factory=Latencies)
    from_send: Latencies = field(default_factory=Latencies)
    lag: Latencies = field(default_factory=Latencies)
    answered_at: Counter[int] = field(default_factory=Counter)
    failed_at: Counter[int] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        """Requests that the service refused because it had too many."""
        return sum(count for status, count in self.statuses.items() if status in REFUSALS)

    @property
    def failed(self) -> int:
        """Requests without an answer of 2xx; the refused ones are among them."""
        return sum(self.statuses.values()) + sum(self.errors.values())

    def add(self, other: Tally) -> None:
        """Count the requests of another process too."""
        self.offered += other.offered
        self.sent += other.sent
        self.ok += other.ok
        self.from_cache += other.from_cache
        self.unfinished += other.unfinished
        self.waited += other.waited
        for mine, others in (
            (self.statuses, other.statuses),
            (self.errors, other.errors),
            (self.answered_at, other.answered_at),
            (self.failed_at, other.failed_at),
        ):
            mine.update(others)  # type: ignore[arg-type] # the pairs have the same types
        self.from_plan.add(other.from_plan)
        self.from_send.add(other.from_send)
        self.lag.add(other.lag)
