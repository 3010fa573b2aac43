"""How many cores this process may use."""

from __future__ import annotations

import os

import psutil

from connectors.errors import LoadError
from connectors.machine.load import find_source


def available_cores() -> int:
    """Returns the number of physical cores that this process may use, at least 1.

    Hyper-threads are not counted, because they do not make matrix products faster. CPU affinity (`taskset`, a
    container's cpuset) lowers the number on systems that support it.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def usable_cores() -> int:
    """Returns the cores that this process may use, at least 1. A CPU quota, rounded down, lowers the number."""
    try:
        quota = int(find_source().capacity())
    except LoadError:
        return available_cores()
    return max(1, min(available_cores(), quota))
