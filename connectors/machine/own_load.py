"""The processor time that is the sink's own, which does not count against it.

Own is

- this process, with all its threads, without its children;
- the Postgres backends at the other end of its connections, and their parallel workers;
- what writes for every session of that server: checkpointer, background writer, walwriter, I/O workers. They also serve
  others, whose load is thus seen a little smaller. Autovacuum is load like any other.

A backend counts only where its process can be seen and its title names our end of the connection, so that a server on
another machine never lends us the process that has the same number here. One in another container or on another machine
is not seen; if it uses our processors, it counts as load of others.

The sum never goes back: each process adds what it used since it was last seen, a new one nothing, and one that has
ended keeps its share.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

_TITLE = "postgres: "
_WRITER = re.compile(r"(?:.+: )?(?:checkpointer|background writer|walwriter|io worker \d+)(?: performing .*)?")
_PARALLEL = re.compile(r"(?:.+: )?parallel worker for PID (\d+)")


class ProcessStat(NamedTuple):
    """A process at one moment.

    Attributes:
        name: of its program, at most 15 characters.
        parent: its parent's number.
        used: processor seconds, user and system.
        started: ticks since the boot; with the number, the same process for ever.
    """

    name: str
    parent: int
    used: float
    started: int


def parse_stat(text: str) -> ProcessStat:
    """The fields of a `/proc/PID/stat` (proc_pid_stat(5)). The name may hold blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    used = (int(fields[11]) + int(fields[12])) / _TICKS
    return ProcessStat(head.partition("(")[2], int(fields[1]), used, int(fields[19]))


def client_port(fileno: int) -> int | None:
    """The port of our end of a connection, given its file descriptor; None for a Unix socket."""
    with socket.socket(fileno=os.dup(fileno)) as end:
        name = end.getsockname()
    return int(name[1]) if isinstance(name, tuple) else None


class OwnLoad:
    """Adds up. Thread-safe."""

    def __init__(self, proc: Path = PROC, holds: Callable[[int], bool] = lambda pid: True) -> None:
        """Begin with this process alone.

        Args:
            proc: the folder of processes.
            holds: whether a process is part of what is measured; one outside must not be taken off.
        """
        self._proc = proc
        self._holds = holds
        self._lock = threading.Lock()
        # When each process was started, by its number: both together name it for ever.
        self._backends: dict[int, int] = {}
        self._helpers: dict[int, int] = {}
        self._strangers: set[int] = set()  # children of the server that are known not to work for us
        self._used: dict[int, ProcessStat] = {}
        self._sum = 0.0

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Count a Postgres backend, and the writers of its server, as own.

        Args:
            pid: the backend's process, as the server told it.
            port: of our end of the connection to it (`client_port`); None for a Unix socket.

        Returns:
            Whether it is a process that can be seen here, and ours.
        """
        stat, title = self._stat(pid), self._title(pid)
        client = "[local]" if port is None else f"({port})"
        if stat is None or stat.name != "postgres" or not title.startswith(_TITLE) or client not in title:
            return False
        if not self._holds(pid):
            return False
        with self._lock:
            self._backends[pid] = stat.started
            self._used[pid] = stat
        return True

    def drop_backend(self, pid: int) -> None:
        """No longer count a backend; one that was not counted is ignored."""
        with self._lock:
            self._backends.pop(pid, None)

    def seconds(self) -> float:
        """Processor seconds used so far. Only differences count."""
        with self._lock:
            self._backends, used = self._living(self._backends)
            self._find_helpers({stat.parent for stat in used.values()})
            self._helpers, of_helpers = self._living(self._helpers)
            used |= of_helpers
            for pid, stat in used.items():
                before = self._used.get(pid)
                if before is not None and before.started == stat.started:
                    self._sum += max(0.0, stat.used - before.used)
            self._used = used
            return time.process_time() + self._sum

    def _living(self, processes: dict[int, int]) -> tuple[dict[int, int], dict[int, ProcessStat]]:
        """Those that still run, and what they have used."""
        stats = {pid: self._stat(pid) for pid in processes}
        found = {pid: stat for pid, stat in stats.items() if stat is not None and stat.started == processes[pid]}
        return {pid: stat.started for pid, stat in found.items()}, found

    def _find_helpers(self, servers: set[int]) -> None:
        """Look at the children of the servers that have not been looked at before."""
        children: set[int] = set()
        for server in servers:
            stat = self._stat(server)
            if stat is not None and stat.name == "postgres":  # else it was killed, and its backends will end too
                children.update(self._children(server))
        self._helpers = {pid: started for pid, started in self._helpers.items() if pid in children}
        self._strangers &= children
        for pid in children - self._strangers - self._helpers.keys() - self._backends.keys():
            stat, title = self._stat(pid), self._title(pid)
            if stat is not None and self._works_for_us(title) and self._holds(pid):
                self._helpers[pid] = stat.started
            elif title.startswith(_TITLE):  # one just forked has its parent's title: look again
                self._strangers.add(pid)

    def _works_for_us(self, title: str) -> bool:
        what = title.removeprefix(_TITLE)
        if what == title:
            return False
        worker = _PARALLEL.fullmatch(what)
        return int(worker[1]) in self._backends if worker else _WRITER.fullmatch(what) is not None

    def _stat(self, pid: int) -> ProcessStat | None:
        try:
            return parse_stat((self._proc / str(pid) / "stat").read_text("utf-8", "replace"))
        except OSError:
            return None

    def _title(self, pid: int) -> str:
        try:
            title = (self._proc / str(pid) / "cmdline").read_bytes()
        except OSError:
            return ""
        return title.replace(b"\0", b" ").decode("utf-8", "replace").strip()

    def _children(self, pid: int) -> list[int]:
        """Needs a kernel with CONFIG_PROC_CHILDREN, as distributions have it; else the server's writers are load."""
        path = self._proc / str(pid) / "task" / str(pid) / "children"
        try:
            return [int(child) for child in path.read_text("ascii").split()]
        except OSError:
            return []
