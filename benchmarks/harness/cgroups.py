"""Limits the CPU time of processes with a control group (cgroup), version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple, Self

PERIOD_US = 50_000
"""Length of a quota period in microseconds. A group that has used up its quota waits for the next period."""

_REMOVE_S = 5.0
"""Seconds to retry the removal of a group, which fails while a process that has just ended is still in it."""


class NoCgroupError(Exception):
    """No control group with a CPU quota can be made on this machine."""


class Location(NamedTuple):
    """A place in the cgroup file system where a group may be made.

    Attributes:
        parent: The folder of the parent group.
        version: The version of control groups, 1 or 2.
        origins: Groups that this process may be in now, the likeliest first. A process that leaves the new group goes
            back there. It cannot go to the parent: in version 2 a group that delegates controllers holds no processes.
    """

    parent: Path
    version: int
    origins: tuple[Path, ...]


def find_locations(mounts: str, own: str) -> list[Location]:
    """Returns the locations to try, the best first.

    Args:
        mounts: Content of /proc/self/mounts.
        own: Content of /proc/self/cgroup. In a container without a cgroup namespace, these paths are those of the host,
            while the mount point is the process's own group. So the mount point itself is a location and an origin too.
    """
    paths: dict[str, PurePosixPath] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = PurePosixPath(path.lstrip("/"))
    found: list[Location] = []
    for line in mounts.splitlines():
        _, point, kind, options = line.split(" ")[:4]
        root = Path(point)
        if kind == "cgroup" and "cpu" in options.split(","):
            origins = _unique(root / paths.get("cpu", PurePosixPath()), root)
            found += [Location(origin, 1, origins) for origin in origins]
        elif kind == "cgroup2":
            own_group = paths.get("", PurePosixPath())
            origins = _unique(root / own_group, root)
            # A group that holds processes cannot delegate controllers; only the root can.
            found += [
                Location(folder, 2, origins) for folder in _unique(root / own_group, root / own_group.parent, root)
            ]
    return found


def _unique(*folders: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(folders))


class CpuShare:
    """A control group whose processes together use at most `cores` cores.

    A context manager. On exit, processes that still run leave the group and continue without a limit, and the group is
    removed.
    """

    def __init__(self, cores: float) -> None:
        """Make the group.

        Raises:
            NoCgroupError: No control group with a CPU quota can be made on this machine.
        """
        proc = Path("/proc/self")
        try:
            locations = find_locations((proc / "mounts").read_text(), (proc / "cgroup").read_text())
        except OSError as exc:
            raise NoCgroupError("this system has no control groups") from exc
        for location in locations:
            origin = next((folder for folder in location.origins if (folder / "cgroup.procs").is_file()), None)
            folder = location.parent / f"emostream-bench-{os.getpid()}-{id(self):x}"
            if origin is not None and _make_group(folder, location.version, cores):
                self._folder, self._origin = folder, origin
                return
        raise NoCgroupError("no control group with a CPU quota can be made here")

    def add(self, pid: int) -> None:
        """Move a process into the group. Processes that it starts later are in the group too."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def processes(self) -> Iterator[int]:
        """Returns the ids of the group's processes."""
        yield from map(int, (self._folder / "cgroup.procs").read_text().split())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + _REMOVE_S
        while True:
            for pid in self.processes():
                with contextlib.suppress(OSError):  # the process has just ended
                    (self._origin / "cgroup.procs").write_text(str(pid))
            try:
                self._folder.rmdir()
            except OSError:
                # A process that has just ended is still in the group for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def can_limit_cpu() -> bool:
    """Returns whether a process can join a group with a CPU quota here, and leave it again."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with CpuShare(1.0) as share:
            share.add(child.pid)
    except (NoCgroupError, OSError):
        return False
    else:
        return True
    finally:
        child.kill()
        child.wait()


def _make_group(folder: Path, version: int, cores: float) -> bool:
    quota = str(max(1_000, round(cores * PERIOD_US)))
    files = (
        {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": quota}
        if version == 1
        else {"cpu.max": f"{quota} {PERIOD_US}"}
    )
    try:
        folder.mkdir()
    except OSError:
        return False
    try:
        for name, content in files.items():
            if not (folder / name).is_file():
                raise FileNotFoundError(name)
            (folder / name).write_text(content)
    except OSError:
        folder.rmdir()
        return False
    return True
