"""A share of the machine's processors for some processes: a control group with a CPU quota, version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PERIOD_US = 50_000
"""A group that has spent its quota waits for the rest of a period."""

_REMOVE_S = 5.0


class NoCgroupError(Exception):
    """This machine lets us make no group with a CPU quota."""


def find_parents(mounts: str, own: str) -> list[tuple[Path, int]]:
    """Where groups might be made, best first: a folder, and the version of control groups that it has.

    Args:
        mounts: what /proc/self/mounts says.
        own: what /proc/self/cgroup says.
    """
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.lstrip("/")
    found = []
    for line in mounts.splitlines():
        _, point, kind, options = line.split(" ")[:4]
        if kind == "cgroup" and "cpu" in options.split(","):
            found.append((Path(point) / paths.get("cpu", ""), 1))
        elif kind == "cgroup2":
            # A group that holds processes cannot hand controllers on, but for the root.
            own_group = Path(point) / paths.get("", "")
            found += [(folder, 2) for folder in dict.fromkeys((own_group, own_group.parent, Path(point)))]
    return found


class CpuShare:
    """A group that may use so many cores in all. A context manager: it is removed at the end, empty or not."""

    def __init__(self, cores: float) -> None:
        """Make it.

        Raises:
            NoCgroupError: None can be made here.
        """
        proc = Path("/proc/self")
        try:
            parents = find_parents((proc / "mounts").read_text(), (proc / "cgroup").read_text())
        except OSError as exc:
            raise NoCgroupError("this system has no control groups") from exc
        for parent, version in parents:
            if _made(folder := parent / f"emostream-bench-{os.getpid()}-{id(self):x}", version, cores):
                self._folder, self._parent = folder, parent
                return
        raise NoCgroupError("no control group with a CPU quota can be made here")

    def add(self, pid: int) -> None:
        """Let a process and what it starts from now on share it."""
        (self._folder / "cgroup.procs").write_text(str(pid))

    def _processes(self) -> Iterator[str]:
        yield from (self._folder / "cgroup.procs").read_text().split()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + _REMOVE_S
        while True:
            for pid in self._processes():
                with contextlib.suppress(OSError):
                    (self._parent / "cgroup.procs").write_text(pid)
            try:
                self._folder.rmdir()
            except OSError:
                # A process that has just ended is still in it for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


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
