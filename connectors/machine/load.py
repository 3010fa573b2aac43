"""Reads how much processor time everything uses, and how much of it is the sink's own.

Everything is the machine, or in a container with a CPU quota that container: the nearest cgroup with a quota, our own
or one above it (version 2 `cpu.max`, version 1 `cpu.cfs_quota_us`). A container with a quota that holds nothing but the
sink therefore shows it no load at all: give that one no quota, or limit the pressure too.

A sample costs about 0.3 ms of processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

import psutil

from connectors.errors import LoadError
from connectors.machine.own_load import PROC, OwnLoad
from connectors.machine.sample import Sample

_RESOURCES = ("cpu", "io", "memory")

# Not "guest": its time is in "user" already. Not "idle" and "iowait": nothing runs. What the host steals is load.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


class Source(Protocol):
    """Whose load is read."""

    def busy(self) -> float:
        """Processor seconds used by everything in it.

        Raises:
            LoadError: they cannot be read.
        """

    def capacity(self) -> float:
        """Processors that it has.

        Raises:
            LoadError: it cannot be read.
        """

    def stalls(self) -> tuple[float, ...]:
        """Seconds in which some task stalled for the CPU, for I/O, for memory; empty where the kernel does not say."""

    def holds(self, pid: int) -> bool:
        """Whether a process of this machine is part of it."""


class Machine:
    """All processors of the machine."""

    def __init__(self, proc: Path = PROC) -> None:
        self._pressure = [proc / "pressure" / resource for resource in _RESOURCES]

    def __str__(self) -> str:
        return f"the machine ({_processors()} processors)"

    def busy(self) -> float:
        """See `Source`."""
        try:
            return busy_of(psutil.cpu_times())
        except (OSError, RuntimeError) as exc:
            raise LoadError(f"cannot read the load of the machine: {exc}") from exc

    def capacity(self) -> float:
        """See `Source`."""
        return float(_processors())

    def stalls(self) -> tuple[float, ...]:
        """See `Source`."""
        return _stalls(self._pressure)

    def holds(self, pid: int) -> bool:
        """See `Source`."""
        return True


@dataclass(frozen=True)
class Cgroup:
    """A control group with a CPU quota.

    Attributes:
        controller: by which `/proc/PID/cgroup` names it: empty in version 2, `cpuacct` in version 1.
        path: its name there.
        quota: the files that hold the quota: one with two words in version 2, two in version 1.
        usage: the file that holds the processor time.
        pressure: the files that hold its stalls; those of the machine in version 1.
        proc: the folder of processes.
    """

    controller: str
    path: str
    quota: tuple[Path, ...]
    usage: Path
    pressure: tuple[Path, ...]
    proc: Path

    def __str__(self) -> str:
        return f"cgroup {self.path} (quota of {self.capacity():g} processors)"

    def busy(self) -> float:
        """See `Source`."""
        words = _read(self.usage).split()
        try:
            if self.controller:
                return int(words[0]) / 1e9
            return int(words[words.index("usage_usec") + 1]) / 1e6
        except (ValueError, IndexError) as exc:
            raise LoadError(f"{self.usage} does not say how much processor time was used") from exc

    def capacity(self) -> float:
        """See `Source`. A quota that was lifted meanwhile leaves the processors of the machine."""
        quota = parse_quota(" ".join(_read(path) for path in self.quota))
        return min(quota or float("inf"), float(_processors()))

    def stalls(self) -> tuple[float, ...]:
        """See `Source`."""
        return _stalls(self.pressure)

    def holds(self, pid: int) -> bool:
        """See `Source`."""
        try:
            path = parse_memberships((self.proc / str(pid) / "cgroup").read_text("utf-8")).get(self.controller)
        except OSError:
            return False
        return path is not None and ".." not in path and PurePosixPath(path).is_relative_to(self.path)


def find_source(proc: Path = PROC) -> Source:
    """What this process's load is measured against: the nearest cgroup with a quota, else the machine.

    Raises:
        LoadError: a quota is set, but its files cannot be read.
    """
    try:
        memberships = parse_memberships((proc / "self" / "cgroup").read_text("utf-8"))
        mounts = parse_mounts((proc / "self" / "mountinfo").read_text("utf-8"))
    except OSError:
        return Machine(proc)  # no Linux, or a kernel without cgroups
    found = _version_1(memberships, mounts, proc) if "cpu" in memberships else _version_2(memberships, mounts, proc)
    return found or Machine(proc)


class LoadReader:
    """Takes samples. Thread-safe."""

    def __init__(
        self,
        source: Source | None = None,
        *,
        need_pressure: bool = False,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A reader.

        Args:
            source: whose load; None finds it.
            need_pressure: whether a kernel that does not tell stalls is an error.
            proc: the folder of processes.
            clock: seconds that never go back.

        Raises:
            LoadError: see `find_source`.
        """
        self.source = source or find_source(proc)
        self.own = OwnLoad(proc, self.source.holds)
        self._need_pressure = need_pressure
        self._clock = clock

    def read(self) -> Sample:
        """The counters now.

        Raises:
            LoadError: they cannot be read, or the pressure is needed and unknown.
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
    """Processor seconds in which something ran, of what `psutil.cpu_times` gives."""
    return float(sum(getattr(times, name, 0.0) for name in _BUSY))


def parse_quota(text: str) -> float | None:
    """Processors that a quota and its period allow, `200000 100000`; None for no quota, `max` or -1.

    Raises:
        LoadError: it says something else.
    """
    try:
        quota, period = text.split()
        return int(quota) / int(period) if quota not in {"max", "-1"} else None
    except (ValueError, ZeroDivisionError) as exc:
        raise LoadError(f"the cgroup's CPU quota cannot be read: {text.strip()!r}") from exc


def parse_memberships(text: str) -> dict[str, str]:
    """Paths by controller, of a `/proc/PID/cgroup`; version 2 is the empty controller."""
    rows = [line.split(":", 2) for line in text.splitlines()]
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


class Mount(NamedTuple):
    """Where a hierarchy of cgroups can be seen, and from which of them on."""

    point: Path
    root: str


def parse_mounts(text: str) -> dict[str, Mount]:
    """Mounts by controller, of a `/proc/PID/mountinfo` (proc_pid_mountinfo(5)); version 2 is the empty controller."""
    mounts = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            mounts[""] = Mount(Path(point), root)
        elif kind == "cgroup":
            mounts.update(dict.fromkeys(options.split(","), Mount(Path(point), root)))
    return mounts


def parse_stalls(text: str) -> float:
    """Seconds in which some task stalled, of a pressure file (kernel documentation, accounting/psi).

    Raises:
        ValueError: it does not say.
    """
    for line in text.splitlines():
        if line.startswith("some "):
            return int(line.rpartition("total=")[2]) / 1e6
    raise ValueError("no line `some`")


def _version_2(memberships: dict[str, str], mounts: dict[str, Mount], proc: Path) -> Cgroup | None:
    if "" not in memberships or "" not in mounts:
        return None
    mount = mounts[""]
    for level in _levels(memberships[""], mount):
        folder = mount.point / level
        quota = folder / "cpu.max"  # the root has none, nor has a group without the controller
        if quota.exists() and parse_quota(_read(quota)) is not None:
            pressure = tuple(folder / f"{resource}.pressure" for resource in _RESOURCES)
            name = str(PurePosixPath(mount.root) / level)
            return _checked(Cgroup("", name, (quota,), folder / "cpu.stat", pressure, proc))
    return None


def _version_1(memberships: dict[str, str], mounts: dict[str, Mount], proc: Path) -> Cgroup | None:
    if "cpu" not in mounts or "cpuacct" not in mounts:
        return None
    for level in _levels(memberships["cpu"], mounts["cpu"]):
        folder = mounts["cpu"].point / level
        quota = (folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
        if quota[0].exists() and parse_quota(" ".join(_read(path) for path in quota)) is not None:
            usage = mounts["cpuacct"].point / level / "cpuacct.usage"
            pressure = tuple(proc / "pressure" / resource for resource in _RESOURCES)
            name = str(PurePosixPath(mounts["cpuacct"].root) / level)
            return _checked(Cgroup("cpuacct", name, quota, usage, pressure, proc))
    return None


def _levels(path: str, mount: Mount) -> list[PurePosixPath]:
    """The cgroup and those above it, the nearest first, relative to where they can be seen."""
    try:
        level = PurePosixPath(path).relative_to(mount.root)
    except ValueError:
        level = PurePosixPath()  # beside what the mount shows: what it shows is all there is
    if ".." in level.parts:
        level = PurePosixPath()
    return [level, *level.parents] if level.parts else [level]


def _checked(cgroup: Cgroup) -> Cgroup:
    cgroup.busy()
    return cgroup


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError) as exc:
        raise LoadError(f"cannot read the load of the cgroup: {exc}") from exc


def _stalls(paths: tuple[Path, ...] | list[Path]) -> tuple[float, ...]:
    try:
        return tuple(parse_stalls(path.read_text("ascii")) for path in paths)
    except (OSError, ValueError):
        return ()


def _processors() -> int:
    return psutil.cpu_count() or 1
