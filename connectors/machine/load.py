"""Reads how much processor time everything uses, and how much of it is the sink's own.

"Everything" is the machine, or in a container with a CPU quota the container: the nearest cgroup with a quota
(`connectors.machine.cgroups`). A container with a quota that runs nothing but the sink therefore shows no load at all,
because the sink's own load is taken off. Give such a container no quota, or limit the pressure too.

Taking a sample costs about 0.3 ms of processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil

from connectors.errors import LoadError
from connectors.machine.cgroups import find_cgroup, processors
from connectors.machine.own_load import PROC, OwnLoad
from connectors.machine.pressure import RESOURCES, read_stalls
from connectors.machine.sample import Sample

# The fields of `psutil.cpu_times` in which something ran. "guest" is part of "user" already. In "idle" and "iowait"
# nothing ran. "steal" is time that the host took: it counts as load.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


class Source(Protocol):
    """What the load is read of: the machine, or a cgroup."""

    def busy(self) -> float:
        """Returns the processor seconds used by everything in it.

        Raises:
            LoadError: The counters cannot be read.
        """

    def capacity(self) -> float:
        """Returns its number of processors.

        Raises:
            LoadError: The quota cannot be read.
        """

    def stalls(self) -> tuple[float, ...]:
        """Returns the seconds in which some task waited for the processor, for I/O and for memory.

        The tuple is empty if the kernel has no pressure stall information.
        """

    def holds(self, pid: int) -> bool:
        """Returns whether a process of this machine is part of it."""


class Machine:
    """All processors of the machine."""

    def __init__(self, proc: Path = PROC) -> None:
        self._pressure = [proc / "pressure" / resource for resource in RESOURCES]

    def __str__(self) -> str:
        return f"the machine ({processors()} processors)"

    def busy(self) -> float:
        """Returns the processor seconds used on the machine; see `Source`."""
        try:
            return busy_of(psutil.cpu_times())
        except (OSError, RuntimeError) as exc:
            raise LoadError(f"cannot read the load of the machine: {exc}") from exc

    def capacity(self) -> float:
        """Returns the number of processors; see `Source`."""
        return float(processors())

    def stalls(self) -> tuple[float, ...]:
        """Returns the seconds of stalls on the machine; see `Source`."""
        return read_stalls(self._pressure)

    def holds(self, pid: int) -> bool:
        """Returns True: every process is part of the machine."""
        return True


def find_source(proc: Path = PROC) -> Source:
    """Returns what the load is measured on: the nearest cgroup with a CPU quota, else the machine.

    Raises:
        LoadError: A quota is set, but the files of its cgroup cannot be read.
    """
    return find_cgroup(proc) or Machine(proc)


class LoadReader:
    """Takes samples of the load. Thread-safe."""

    def __init__(
        self,
        source: Source | None = None,
        *,
        need_pressure: bool = False,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a reader.

        Args:
            source: What to read the load of; None calls `find_source`.
            need_pressure: Whether `read` fails if the kernel has no pressure stall information.
            proc: The folder of processes.
            clock: Returns seconds; never goes back.

        Raises:
            LoadError: See `find_source`.
        """
        self.source = source or find_source(proc)
        self.own = OwnLoad(proc, self.source.holds)
        self._need_pressure = need_pressure
        self._clock = clock

    def read(self) -> Sample:
        """Returns the current counters.

        Raises:
            LoadError: The counters cannot be read, or pressure is needed and the kernel does not report it.
        """
        at = self._clock()
        stalls = self.source.stalls()
        if self._need_pressure and not stalls:
            raise LoadError(
                "EMOSTREAM_SINK_PRESSURE_PERCENT is set, but this kernel gives no pressure stall information "
                "(/proc/pressure); leave it empty"
            )
        return Sample(at, self.source.busy(), self.own.seconds(), self.source.capacity(), stalls)


def busy_of(times: Any) -> float:  # noqa: ANN401 - psutil's tuple has other fields on every system
    """Returns the processor seconds in which something ran, from the result of `psutil.cpu_times`."""
    return float(sum(getattr(times, name, 0.0) for name in _BUSY))
