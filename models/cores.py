"""How many threads inference may use."""

from __future__ import annotations

import os

import psutil


def available_cores() -> int:
    """Physical cores that this process may use, at least 1.

    Hyper-threads do not help matrix products; affinity (`taskset`, a container's cpuset) limits further, where the
    system has it.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))
