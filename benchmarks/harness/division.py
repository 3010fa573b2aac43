"""How a machine is divided among several workers, so that each has the same and the servers have their own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

_STEP = 0.05
"""Quotas are rounded down to this."""


@dataclass(frozen=True)
class Division:
    """Who runs where.

    Attributes:
        counts: of workers that can be measured.
        servers: cores of Kafka, Redis and the harness; empty for no limit.
        workers: cores of the workers together.
        share: cores that each worker may use, by a quota; None where each has a core of its own.
        note: what is said about it.
    """

    counts: tuple[int, ...]
    servers: tuple[int, ...]
    workers: tuple[int, ...]
    share: float | None
    note: str

    def cores_of(self, worker: int) -> tuple[int, ...]:
        """Where a worker runs, the first being 0."""
        return (self.workers[worker],) if self.share is None else self.workers


def divide(allowed: Collection[int], counts: Sequence[int], *, quotas: bool) -> Division:
    """Find the best division that this machine allows.

    Each worker has a core of its own where there are enough, and one more for the servers. Else all share what the
    servers leave, each with a quota of it. Else only as many workers are measured as there are cores for.

    Args:
        allowed: cores that we may use; at least two.
        counts: of workers that are wanted.
        quotas: whether a process can be given one.

    Raises:
        ValueError: there is one core, and with it no way to hold workers and servers apart.
    """
    ordered = tuple(sorted(allowed))
    if len(ordered) < 2:
        raise ValueError("with one core, workers and servers cannot be told apart")
    most = max(counts)
    if len(ordered) > most:
        servers, workers = ordered[most:], ordered[:most]
        return Division(tuple(counts), servers, workers, None, f"each worker has a core, the servers {len(servers)}")
    half = len(ordered) // 2
    if quotas:
        servers, workers = ordered[len(ordered) - half :], ordered[: len(ordered) - half]
        share = max(_STEP, int(min(1.0, len(workers) / most) / _STEP + 1e-9) * _STEP)
        note = (
            f"{len(ordered)} cores are fewer than {most} workers and the servers need: "
            f"each worker has a quota of {share:.2f} of a core, on {len(workers)}; the servers have {half}"
        )
        return Division(tuple(counts), servers, workers, share, note)
    servers, workers = ordered[len(ordered) - 1 :], ordered[: len(ordered) - 1]
    kept = tuple(count for count in counts if count <= len(workers))
    left = ", ".join(str(count) for count in counts if count not in kept)
    note = f"{len(ordered)} cores, and no control groups with a CPU quota here: not measured with {left} workers"
    return Division(kept, servers, workers, None, note)
