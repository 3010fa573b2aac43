"""A share of the machine's processors for some processes: a control group with a CPU quota, version 1 or 2."""

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
"""A group that has spent its quota waits for the rest of a period."""

_REMOVE_S = 5.0


class NoCgroupError(Exception):
    """This machine lets us make no group with a CPU quota."""


class Place(NamedTuple):
    """Where a group might be made.

    Attributes:
        parent: the folder that it would be made in.
        version: of control groups, 1 or 2.
        homes: where this process may be now, likelier first. A process that leaves the group goes there: on version 2
            the parent may not hold any, because it hands controllers on.
    """

    parent: Path
    version: int
    homes: tuple[Path, ...]


def find_places(mounts: str, own: str) -> list[Place]:
    """Where groups might be made, best first.

    Args:
        mounts: what /proc/self/mounts says.
        own: what /proc/self/cgroup says. In a container without a cgroup namespace its paths are those of the host,
            and what is mounted is this process's own group: so the mount itself is a place, and a home, too.
    """
    paths: dict[str, PurePosixPath] = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = PurePosixPath(path.lstrip("/"))
    found: list[Place] = []
    for line in mounts.splitlines():
        _, point, kind, options = line.split(" ")[:4]
        root = Path(point)
        if kind == "cgroup" and "cpu" in options.split(","):
            homes = _unique(root / paths.get("cpu", PurePosixPath()), root)
            found += [Place(home, 1, homes) for home in homes]
        elif kind == "cgroup2":
            own_group = paths.get("", PurePosixPath())
            homes = _unique(root / own_group, root)
            # A group that holds processes cannot hand controllers on, but for the root.
            found += [Place(folder, 2, homes) for folder in _unique(root / own_group, root / own_group.parent, root)]
    return found


def _unique(*folders: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(folders))


class CpuShare:
    """A group that may use so many cores in all. A context manager: it is removed at the end, empty or not.

    End its processes before it: what still runs then goes on without a limit.
    """

    def __init__(self, cores: float) -> None:
        """Make it.

        Raises:
            NoCgroupError: None can be made here.
        """
        proc = Path("/proc/self")
        try:
            places = find_places((proc / "mounts").read_text(), (proc / "cgroup").read_text())
        except OSError as exc:
            raise NoCgroupError("this system has no control groups") from exc
        for place in places:
            home = next((folder for folder in place.homes if (folder / "cgroup.procs").is_file()), None)
            folder = place.parent / f"emostream-bench-{os.getpid()}-{id(self):x}"
            if home is not None and _made(folder, place.version, cores):
                self._folder, self._home = folder, home
                return
        raise NoCgroupError("no control group with a CPU quota can be made here")

    def add(self, pid: int) -> None:
        """Let a process and what it starts from now on share it."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def processes(self) -> Iterator[int]:
        """Those in it."""
        yield from map(int, (self._folder / "cgroup.procs").read_text().split())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + _REMOVE_S
        while True:
            for pid in self.processes():
                with contextlib.suppress(OSError):  # it has just ended
                    (self._home / "cgroup.procs").write_text(str(pid))
            try:
                self._folder.rmdir()
            except OSError:
                # A process that has just ended is still in it for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def has_shares() -> bool:
    """Whether a process can be given a share here, and taken out of it again."""
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


def _made(folder: Path, version: int, cores: float) -> bool:
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
