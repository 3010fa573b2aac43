"""Divides the machine's cores: equal parts for the workers, and separate cores for the servers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

_STEP = 0.05
"""CPU quotas are rounded down to a multiple of this many cores."""


@dataclass(frozen=True)
class Division:
    """Which cores the workers and the servers use.

    Attributes:
        counts: The numbers of workers that can be measured.
        servers: Cores of Kafka, Redis and the harness; empty for no limit.
        workers: Cores of all workers together.
        share: CPU quota of each worker in cores; None if each worker has its own core.
        note: The division in words, for the report.
    """

    counts: tuple[int, ...]
    servers: tuple[int, ...]
    workers: tuple[int, ...]
    share: float | None
    note: str

    def cores_of(self, worker: int) -> tuple[int, ...]:
        """Returns the cores that a worker may use. The first worker is 0."""
        return (self.workers[worker],) if self.share is None else self.workers


def divide(allowed: Collection[int], counts: Sequence[int], *, quotas: bool) -> Division:
    """Returns the best division that this machine allows.

    1. With a core for each worker and at least one more for the servers, each worker gets its own core.
    2. With fewer cores, the servers get half of them, rounded down. The workers share the rest, with equal CPU quotas.
    3. Without quotas, the servers get one core. Only as many workers are measured as there are cores left.

    Args:
        allowed: Cores that may be used; at least two.
        counts: The wanted numbers of workers.
        quotas: Whether processes can have a CPU quota.

    Raises:
        ValueError: There is only one core, so workers and servers cannot have separate cores.
    """
    ordered = tuple(sorted(allowed))
    if len(ordered) < 2:
        raise ValueError("workers and servers need separate cores, and this machine has one")
    most = max(counts)
    if len(ordered) > most:
        servers, workers = ordered[most:], ordered[:most]
        return Division(
            tuple(counts), servers, workers, None, f"each worker has its own core; the servers have {len(servers)}"
        )
    half = len(ordered) // 2
    if quotas:
        servers, workers = ordered[len(ordered) - half :], ordered[: len(ordered) - half]
        share = max(_STEP, int(min(1.0, len(workers) / most) / _STEP + 1e-9) * _STEP)
        note = (
            f"{len(ordered)} cores are too few for {most} workers and the servers: each worker has a CPU quota of "
            f"{share:.2f} cores, on {len(workers)} shared; the servers have {half}"
        )
        return Division(tuple(counts), servers, workers, share, note)
    servers, workers = ordered[len(ordered) - 1 :], ordered[: len(ordered) - 1]
    kept = tuple(count for count in counts if count <= len(workers))
    left = ", ".join(str(count) for count in counts if count not in kept)
    note = f"{len(ordered)} cores, and no control groups with a CPU quota: not measured with {left} workers"
    return Division(kept, servers, workers, None, note)
