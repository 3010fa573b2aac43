"""How many cores this process may use."""

from __future__ import annotations

import os

import psutil

from connectors.errors import LoadError
from connectors.machine.load import find_source


def available_cores() -> int:
    """Physical cores that this process may use, at least 1.

    Hyper-threads do not help matrix products; affinity (`taskset`, a container's cpuset) limits further, where the
    system has it.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def usable_cores() -> int:
    """Cores that this process may use, at least 1: in a container with a CPU quota, those that it pays for in full."""
    try:
        quota = int(find_source().capacity())
    except LoadError:
        return available_cores()
    return max(1, min(available_cores(), quota))
