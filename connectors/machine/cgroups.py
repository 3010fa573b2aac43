"""Control groups with a CPU quota (Linux cgroups): their processor time, their quota, and which processes they hold.

A container with a CPU limit is such a group. Version 2 sets the quota in `cpu.max`, version 1 in `cpu.cfs_quota_us`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil

from connectors.errors import LoadError
from connectors.machine.pressure import RESOURCES, read_stalls


def processors() -> int:
    """Returns the number of logical processors of the machine, at least 1."""
    return psutil.cpu_count() or 1


@dataclass(frozen=True)
class Cgroup:
    """A control group with a CPU quota; implements `connectors.machine.load.Source`.

    Attributes:
        controller: The controller under which `/proc/PID/cgroup` lists the group: empty in version 2, `cpuacct` in
            version 1.
        path: The group's name in `/proc/PID/cgroup`.
        quota: The files with the quota: one file with two words in version 2, two files in version 1.
        usage: The file with the processor time.
        pressure: The files with the stalls. In version 1 these are the files of the machine.
        proc: The folder of processes, `/proc`.
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
        """Returns the processor seconds used by the group; see `Source`."""
        words = _read(self.usage).split()
        try:
            if self.controller:
                return int(words[0]) / 1e9
            return int(words[words.index("usage_usec") + 1]) / 1e6
        except (ValueError, IndexError) as exc:
            raise LoadError(f"{self.usage} does not say how much processor time was used") from exc

    def capacity(self) -> float:
        """Returns the quota in processors; see `Source`. Without a quota, these are the processors of the machine."""
        quota = parse_quota(" ".join(_read(path) for path in self.quota))
        return min(quota or float("inf"), float(processors()))

    def stalls(self) -> tuple[float, ...]:
        """Returns the seconds of stalls in the group; see `Source`."""
        return read_stalls(self.pressure)

    def holds(self, pid: int) -> bool:
        """Returns whether a process is in this group or in a group below it; see `Source`."""
        try:
            path = parse_memberships((self.proc / str(pid) / "cgroup").read_text("utf-8")).get(self.controller)
        except OSError:
            return False
        return path is not None and ".." not in path and PurePosixPath(path).is_relative_to(self.path)


def find_cgroup(proc: Path) -> Cgroup | None:
    """Returns the nearest cgroup with a CPU quota: this process's own or one above it. None if there is none.

    Args:
        proc: The folder of processes, `/proc`.

    Raises:
        LoadError: A quota is set, but the files of its group cannot be read.
    """
    try:
        memberships = parse_memberships((proc / "self" / "cgroup").read_text("utf-8"))
        mounts = parse_mounts((proc / "self" / "mountinfo").read_text("utf-8"))
    except OSError:
        return None  # the system is not Linux, or its kernel has no cgroups
    return _version_1(memberships, mounts, proc) if "cpu" in memberships else _version_2(memberships, mounts, proc)


def parse_quota(text: str) -> float | None:
    """Returns the processors that a quota and its period allow, such as 2.0 for `200000 100000`.

    Returns:
        The processors; None if the quota is `max` or -1, which means that there is no quota.

    Raises:
        LoadError: The text is not a quota and a period.
    """
    try:
        quota, period = text.split()
        return int(quota) / int(period) if quota not in {"max", "-1"} else None
    except (ValueError, ZeroDivisionError) as exc:
        raise LoadError(f"the cgroup's CPU quota cannot be read: {text.strip()!r}") from exc


def parse_memberships(text: str) -> dict[str, str]:
    """Returns the cgroup of a process by controller, from `/proc/PID/cgroup`. Version 2 has the empty controller."""
    rows = [line.split(":", 2) for line in text.splitlines()]
    return {controller: path for _, controllers, path in rows for controller in controllers.split(",")}


class Mount(NamedTuple):
    """A mounted hierarchy of cgroups.

    Attributes:
        point: The folder where it is mounted.
        root: The cgroup that this folder shows; groups outside of it cannot be seen.
    """

    point: Path
    root: str


def parse_mounts(text: str) -> dict[str, Mount]:
    """Returns the mounted hierarchies by controller, from `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

    Version 2 has the empty controller.
    """
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


def _version_2(memberships: dict[str, str], mounts: dict[str, Mount], proc: Path) -> Cgroup | None:
    if "" not in memberships or "" not in mounts:
        return None
    mount = mounts[""]
    for level in _levels(memberships[""], mount):
        folder = mount.point / level
        quota = folder / "cpu.max"  # the root group, and groups without the cpu controller, do not have this file
        if quota.exists() and parse_quota(_read(quota)) is not None:
            pressure = tuple(folder / f"{resource}.pressure" for resource in RESOURCES)
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
            pressure = tuple(proc / "pressure" / resource for resource in RESOURCES)
            name = str(PurePosixPath(mounts["cpuacct"].root) / level)
            return _checked(Cgroup("cpuacct", name, quota, usage, pressure, proc))
    return None


def _levels(path: str, mount: Mount) -> list[PurePosixPath]:
    """Returns a cgroup and the groups above it, the nearest first, relative to the mount's root."""
    try:
        level = PurePosixPath(path).relative_to(mount.root)
    except ValueError:
        level = PurePosixPath()  # the group is outside of the mount: only the mount's root can be read
    if ".." in level.parts:
        level = PurePosixPath()
    return [level, *level.parents] if level.parts else [level]


def _checked(cgroup: Cgroup) -> Cgroup:
    """Returns the group if its processor time can be read.

    Raises:
        LoadError: The processor time cannot be read.
    """
    cgroup.busy()
    return cgroup


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError) as exc:
        raise LoadError(f"cannot read the load of the cgroup: {exc}") from exc
