"""The sink's own processor time, which the gate takes off the load.

The sink's own processes are:

- this process with all its threads, without its child processes;
- the Postgres backends that serve its connections, and their parallel workers;
- the processes of that Postgres server that write for every session: checkpointer, background writer, walwriter and I/O
  workers. They also write for other sessions, so the load of those sessions is seen a little too small. Autovacuum is
  not the sink's own.

A backend is counted only if its process can be seen here and its title names this end of the connection. The server
reports the process number of the backend. If the server is on another machine, an unrelated process may have this
number here, and the title tells them apart. A backend in another container or on another machine cannot be seen. If it
uses the processors of this machine, its time counts as load of others.

The sum never goes back. A process adds the time that it used since the sample before; a process that is new adds
nothing. The time of a process that has ended stays in the sum.
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
        name: Name of its program, at most 15 characters.
        parent: Process number of its parent.
        used: Processor seconds that it has used, user and system.
        started: When it was started, in clock ticks since the boot. Together with its number this identifies the
            process, because numbers are used again.
    """

    name: str
    parent: int
    used: float
    started: int


def parse_stat(text: str) -> ProcessStat:
    """Parse `/proc/PID/stat` (proc_pid_stat(5)). The program's name may contain blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    used = (int(fields[11]) + int(fields[12])) / _TICKS
    return ProcessStat(head.partition("(")[2], int(fields[1]), used, int(fields[19]))


def client_port(fileno: int) -> int | None:
    """Returns the local port of a connection, given its file descriptor; None for a Unix socket."""
    with socket.socket(fileno=os.dup(fileno)) as end:
        name = end.getsockname()
    return int(name[1]) if isinstance(name, tuple) else None


class OwnLoad:
    """Adds up the processor time of the sink's own processes. Thread-safe."""

    def __init__(self, proc: Path = PROC, holds: Callable[[int], bool] = lambda pid: True) -> None:
        """Start with this process alone.

        Args:
            proc: The folder of processes.
            holds: Returns whether a process is part of the machine or cgroup that is measured. A process outside of it
                is never counted, because its time is not part of the load either.
        """
        self._proc = proc
        self._holds = holds
        self._lock = threading.Lock()
        # By process number: when the process was started. Numbers are used again, so both identify a process.
        self._backends: dict[int, int] = {}
        self._helpers: dict[int, int] = {}
        self._unrelated: set[int] = set()  # children of the server that do not work for the sink
        self._used: dict[int, ProcessStat] = {}
        self._sum = 0.0

    def add_backend(self, pid: int, port: int | None) -> bool:
        """Count a Postgres backend, and the writing processes of its server, as the sink's own.

        Args:
            pid: Process number of the backend, as the server reports it.
            port: Local port of the connection (`client_port`); None for a Unix socket.

        Returns:
            Whether the process can be seen here and serves this connection. If not, it is not counted.
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
        """Stop counting a backend. Does nothing if it was not counted."""
        with self._lock:
            self._backends.pop(pid, None)

    def seconds(self) -> float:
        """Returns the processor seconds used so far. Only differences between two calls have a meaning."""
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
        """Returns which of the processes still run, by number their start, and the state of each."""
        stats = {pid: self._stat(pid) for pid in processes}
        found = {pid: stat for pid, stat in stats.items() if stat is not None and stat.started == processes[pid]}
        return {pid: stat.started for pid, stat in found.items()}, found

    def _find_helpers(self, servers: set[int]) -> None:
        """Find out which new child processes of the servers work for the sink."""
        children: set[int] = set()
        for server in servers:
            stat = self._stat(server)
            if stat is not None and stat.name == "postgres":  # if it was killed, its backends will end too
                children.update(self._children(server))
        self._helpers = {pid: started for pid, started in self._helpers.items() if pid in children}
        self._unrelated &= children
        for pid in children - self._unrelated - self._helpers.keys() - self._backends.keys():
            stat, title = self._stat(pid), self._title(pid)
            if stat is not None and self._is_helper(title) and self._holds(pid):
                self._helpers[pid] = stat.started
            elif title.startswith(_TITLE):  # a process that was just forked has its parent's title: check it again
                self._unrelated.add(pid)

    def _is_helper(self, title: str) -> bool:
        """Returns whether the process with this title works for the sink's backends."""
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
        """Returns the child processes of a process.

        Needs a kernel with CONFIG_PROC_CHILDREN, which distributions have. Without it the list is empty, and the
        server's writing processes count as load of others.
        """
        path = self._proc / str(pid) / "task" / str(pid) / "children"
        try:
            return [int(child) for child in path.read_text("ascii").split()]
        except OSError:
            return []
