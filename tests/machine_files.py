"""Writes files like those of /proc and /sys/fs/cgroup into a folder: of cgroups, and of a Postgres server."""

from __future__ import annotations

from pathlib import Path

from connectors.machine import own_load

TICKS = own_load._TICKS
TMPFS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"

# A Postgres server with its writers, and two backends of clients with the ports 40001 and 40002.
SERVER, OURS, THEIRS, CHECKPOINTER, IO, VACUUM, FORKED, PARALLEL = 100, 101, 102, 103, 104, 105, 106, 107
TITLES = {
    SERVER: "/usr/lib/postgresql/18/bin/postgres\0-D\0/data\0",
    OURS: "postgres: emostream emostream 127.0.0.1(40001) COPY\0\0\0",
    THEIRS: "postgres: emostream emostream 127.0.0.1(40002) SELECT\0\0\0",
    CHECKPOINTER: "postgres: checkpointer performing checkpoint",
    IO: "postgres: main: io worker 0",
    VACUUM: "postgres: autovacuum worker emostream",
    FORKED: "/usr/lib/postgresql/18/bin/postgres\0-D\0/data\0",
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Cgroups:
    """Writes the files of /proc and /sys/fs/cgroup into a folder."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.sys = root / "cgroup"

    def version_2(self, path: str, files: dict[str, str], *, root: str = "/") -> None:
        mount = f"42 31 0:39 {root} {self.sys} ro,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
        write(self.proc, {"self/cgroup": f"0::{path}\n", "self/mountinfo": TMPFS + mount})
        write(self.sys, files)

    def version_1(self, path: str, files: dict[str, str], *, root: str = "/") -> None:
        mounts = "".join(
            f"3{i} 31 0:3{i} {root} {self.sys}/{name} rw,relatime - cgroup cgroup rw,{name}\n"
            for i, name in enumerate(["cpu", "cpuacct", "memory"])
        )
        unified = f"41 31 0:38 / {self.sys}/unified rw - cgroup2 cgroup2 rw\n"
        memberships = f"9:name=systemd:/x\n4:memory:/other\n2:cpuacct:{path}\n1:cpu:{path}\n0::/\n"
        write(self.proc, {"self/cgroup": memberships, "self/mountinfo": TMPFS + mounts + unified})
        write(self.sys, files)


class Processes:
    """Writes the files of the server's processes into a folder like /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used = dict.fromkeys(TITLES, 10.0)
        self.titles = dict(TITLES)
        self.started = dict.fromkeys(TITLES, 5000)
        self.write()

    def write(self) -> None:
        for pid, title in self.titles.items():
            parent = 1 if pid == SERVER else SERVER
            ticks = round(self.used[pid] * TICKS)
            stat = f"{pid} (postgres) S {parent} {'0 ' * 9}{ticks} 0 {'0 ' * 6}{self.started[pid]} 0\n"
            write(self.root / str(pid), {"stat": stat, "cmdline": title})
        write(self.root / str(SERVER), {f"task/{SERVER}/children": " ".join(map(str, list(self.titles)[1:])) + " "})

    def use(self, pid: int, seconds: float) -> None:
        self.used[pid] += seconds
        self.write()

    def end(self, pid: int) -> None:
        del self.titles[pid]
        (self.root / str(pid) / "stat").unlink()
        (self.root / str(pid) / "cmdline").unlink()
        self.write()

    def begin(self, pid: int, title: str, *, used: float = 0.0) -> None:
        self.titles[pid], self.used[pid], self.started[pid] = title, used, 9000
        self.write()
