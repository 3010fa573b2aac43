"""CPU counters, read from folders like /proc and /sys/fs/cgroup, and from this machine; and the sink's own load."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from connectors.errors import LoadError
from connectors.machine import own_load
from connectors.machine.cgroups import Mount, parse_mounts, parse_quota
from connectors.machine.load import LoadReader, Machine, busy_of, find_source
from connectors.machine.own_load import OwnLoad, client_port, parse_stat

CPUS = 8
TICKS = own_load._TICKS


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda: CPUS)


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


TMPFS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
STAT = "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 3\n"
STALLS = "some avg10=1.00 avg60=0.50 avg300=0.10 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


@pytest.fixture
def cgroups(tmp_path: Path) -> Cgroups:
    return Cgroups(tmp_path)


def test_version_2_in_a_container(cgroups: Cgroups) -> None:
    pressure = {f"{resource}.pressure": STALLS.format(total) for resource, total in PRESSURE.items()}
    cgroups.version_2("/", {"cpu.max": "150000 100000\n", "cpu.stat": STAT, **pressure})
    source = find_source(cgroups.proc)
    assert (source.capacity(), source.busy(), source.stalls()) == (1.5, 2.5, (1.5, 0.25, 0.0))
    assert str(source) == "cgroup / (quota of 1.5 processors)"


PRESSURE = {"cpu": 1_500_000, "io": 250_000, "memory": 0}


def test_version_2_uses_the_nearest_group_with_a_quota(cgroups: Cgroups) -> None:
    cgroups.version_2(
        "/system.slice/app.slice/sink.service",
        {
            "system.slice/cpu.max": "600000 100000\n",
            "system.slice/app.slice/cpu.max": "200000 100000\n",
            "system.slice/app.slice/cpu.stat": STAT,
            "system.slice/app.slice/sink.service/cpu.max": "max 100000\n",
        },
    )
    source = find_source(cgroups.proc)
    assert str(source) == "cgroup /system.slice/app.slice (quota of 2 processors)"
    assert source.stalls() == ()


def test_version_2_with_only_a_part_of_the_tree_mounted(cgroups: Cgroups) -> None:
    cgroups.version_2("/docker/abc", {"cpu.max": "50000 100000\n", "cpu.stat": STAT}, root="/docker/abc")
    assert str(find_source(cgroups.proc)) == "cgroup /docker/abc (quota of 0.5 processors)"


def test_version_2_with_a_group_outside_of_the_mounted_part(cgroups: Cgroups) -> None:
    cgroups.version_2("/../../elsewhere", {"cpu.max": "50000 100000\n", "cpu.stat": STAT})
    write(cgroups.sys.parent, {"cpu.max": "70000 100000\n", "cpu.stat": STAT})
    assert str(find_source(cgroups.proc)) == "cgroup / (quota of 0.5 processors)"


def test_version_1(cgroups: Cgroups) -> None:
    cgroups.version_1(
        "/docker/abc",
        {
            "cpu/docker/abc/cpu.cfs_quota_us": "300000\n",
            "cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            "cpuacct/docker/abc/cpuacct.usage": "46585820853931\n",
        },
    )
    write(cgroups.proc, {f"pressure/{resource}": STALLS.format(total) for resource, total in PRESSURE.items()})
    source = find_source(cgroups.proc)
    assert (source.capacity(), source.busy(), source.stalls()) == (3.0, 46585.820853931, (1.5, 0.25, 0.0))


def test_version_1_with_a_quota_of_the_container_above_the_group(cgroups: Cgroups) -> None:
    cgroups.version_1(
        "/docker/abc/inner",
        {
            "cpu/inner/cpu.cfs_quota_us": "-1\n",
            "cpu/inner/cpu.cfs_period_us": "100000\n",
            "cpu/cpu.cfs_quota_us": "100000\n",
            "cpu/cpu.cfs_period_us": "50000\n",
            "cpuacct/cpuacct.usage": "1000000000\n",
        },
        root="/docker/abc",
    )
    source = find_source(cgroups.proc)
    assert (source.capacity(), source.busy()) == (2.0, 1.0)
    assert str(source) == "cgroup /docker/abc (quota of 2 processors)"


@pytest.mark.parametrize("version", [1, 2])
def test_without_a_quota_the_machine_is_measured(cgroups: Cgroups, version: int) -> None:
    if version == 1:
        cgroups.version_1("/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"})
    else:
        cgroups.version_2("/a", {"a/cpu.max": "max 100000\n", "a/cpu.stat": STAT})
    source = find_source(cgroups.proc)
    assert str(source) == "the machine (8 processors)"
    assert source.capacity() == CPUS


def test_without_cgroups_the_machine_is_measured(tmp_path: Path) -> None:
    assert isinstance(find_source(tmp_path), Machine)


def test_a_quota_is_read_each_time_and_is_at_most_the_machine(cgroups: Cgroups) -> None:
    cgroups.version_2("/", {"cpu.max": "150000 100000\n", "cpu.stat": STAT})
    source = find_source(cgroups.proc)
    for text, capacity in [("400000 100000", 4.0), ("2000000 100000", 8.0), ("max 100000", 8.0)]:
        write(cgroups.sys, {"cpu.max": text})
        assert source.capacity() == capacity


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"cpu.max": "lots\n", "cpu.stat": STAT}, id="a malformed quota"),
        pytest.param({"cpu.max": "100000 0\n", "cpu.stat": STAT}, id="no period"),
        pytest.param({"cpu.max": "100000 100000\n"}, id="no usage"),
        pytest.param({"cpu.max": "100000 100000\n", "cpu.stat": "nr_periods 0\n"}, id="usage without a number"),
    ],
)
def test_a_quota_without_readable_files_is_an_error(cgroups: Cgroups, files: dict[str, str]) -> None:
    cgroups.version_2("/", files)
    with pytest.raises(LoadError) as caught:
        find_source(cgroups.proc)
    assert "\n" not in str(caught.value)


def test_counters_that_disappear_later_are_an_error(cgroups: Cgroups) -> None:
    cgroups.version_2("/", {"cpu.max": "100000 100000\n", "cpu.stat": STAT})
    reader = LoadReader(find_source(cgroups.proc))
    reader.read()
    (cgroups.sys / "cpu.stat").unlink()
    with pytest.raises(LoadError, match=r"cpu\.stat"):
        reader.read()


def test_a_machine_without_counters_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nowhere")
    with pytest.raises(LoadError, match="load of the machine"):
        Machine().busy()


def test_a_missing_pressure_is_an_error_if_it_is_needed(tmp_path: Path) -> None:
    source = Machine(tmp_path)
    assert LoadReader(source).read().stalled == ()
    with pytest.raises(LoadError, match="EMOSTREAM_SINK_PRESSURE_PERCENT"):
        LoadReader(source, need_pressure=True).read()


def test_a_malformed_pressure_is_unknown(tmp_path: Path) -> None:
    write(tmp_path, {f"pressure/{resource}": "none\n" for resource in PRESSURE})
    assert Machine(tmp_path).stalls() == ()


def test_busy_time_is_all_but_idle_time_and_counts_guests_once() -> None:
    linux = SimpleNamespace(
        user=1.0, nice=2.0, system=4.0, idle=512.0, iowait=256.0, irq=8.0, softirq=16.0, steal=32.0, guest=64.0
    )
    assert busy_of(linux) == 63.0
    assert busy_of(SimpleNamespace(user=1.0, nice=2.0, system=4.0, idle=512.0)) == 7.0


def test_samples_of_this_machine() -> None:
    reader = LoadReader(Machine())
    first, second = reader.read(), reader.read()
    assert second.at > first.at
    assert second.busy >= first.busy - 1
    assert second.own >= first.own


@pytest.mark.parametrize("text", ["", "1", "1 2 3", "x 1"])
def test_a_malformed_quota_is_refused(text: str) -> None:
    with pytest.raises(LoadError):
        parse_quota(text)


def test_mounts_of_two_controllers_in_one() -> None:
    text = "33 31 0:29 /docker/a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    mounts = parse_mounts(TMPFS + text)
    assert mounts["cpu"] == mounts["cpuacct"] == Mount(Path("/sys/fs/cgroup/cpu,cpuacct"), "/docker/a")


def test_a_process_name_with_parentheses_and_blanks_is_read() -> None:
    fields = ["S", "17", *["0"] * 9, str(3 * TICKS), str(TICKS // 2), *["0"] * 6, "123456", "0"]
    assert parse_stat(f"42 (a (b) c) {' '.join(fields)}\n") == ("a (b) c", 17, 3.5, 123456)


def test_the_stat_of_this_process_is_read() -> None:
    stat = parse_stat(Path("/proc/self/stat").read_text())
    assert (stat.parent, stat.used) == (os.getppid(), pytest.approx(sum(os.times()[:2]), abs=0.1))


# Own load: a Postgres server with its writers, and two backends of clients with the ports 40001 and 40002.

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


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(time, "process_time", lambda: 2.0)
    return Processes(tmp_path)


@pytest.fixture
def own(processes: Processes) -> OwnLoad:
    own = OwnLoad(processes.root)
    assert own.add_backend(OURS, 40001)
    assert own.seconds() == 2.0
    return own


@pytest.mark.parametrize(
    ("pid", "counts"),
    [
        (OURS, True),
        (CHECKPOINTER, True),
        (IO, True),
        (THEIRS, False),
        (VACUUM, False),
        (FORKED, False),
        (SERVER, False),
    ],
)
def test_which_processes_count_as_own(own: OwnLoad, processes: Processes, pid: int, counts: bool) -> None:
    processes.use(pid, 3.0)
    assert own.seconds() == pytest.approx(5.0 if counts else 2.0)
    processes.use(pid, 0.5)
    assert own.seconds() == pytest.approx(5.5 if counts else 2.0)


def test_without_a_backend_only_this_process_counts(processes: Processes) -> None:
    own = OwnLoad(processes.root)
    own.seconds()
    for pid in TITLES:
        processes.use(pid, 1.0)
    assert own.seconds() == 2.0


@pytest.mark.parametrize(
    ("pid", "port"),
    [
        pytest.param(OURS, 40002, id="another client's"),
        pytest.param(OURS, 4000, id="a port that is a prefix"),
        pytest.param(OURS, None, id="a Unix socket"),
        pytest.param(999, 40001, id="no process"),
        pytest.param(SERVER, 40001, id="the server itself"),
        pytest.param(os.getpid(), 40001, id="a process that is not in the folder"),
    ],
)
def test_a_process_that_may_not_be_the_backend_is_not_counted(processes: Processes, pid: int, port: int) -> None:
    own = OwnLoad(processes.root)
    assert not own.add_backend(pid, port)
    before = own.seconds()
    processes.use(OURS, 1.0)
    assert own.seconds() == before


def test_a_process_that_is_not_postgres_is_not_counted(processes: Processes) -> None:
    stat = processes.root / str(OURS) / "stat"
    stat.write_text(stat.read_text().replace("(postgres)", "(python)"))
    assert not OwnLoad(processes.root).add_backend(OURS, 40001)


def test_a_backend_over_a_unix_socket(processes: Processes) -> None:
    processes.begin(120, "postgres: emostream emostream [local] idle")
    own = OwnLoad(processes.root)
    assert own.add_backend(120, None)
    assert not own.add_backend(120, 40001)


def test_time_that_a_process_used_before_it_was_added_is_not_own(processes: Processes) -> None:
    own = OwnLoad(processes.root)
    processes.use(OURS, 1_000.0)
    own.add_backend(OURS, 40001)
    assert own.seconds() == 2.0


def test_time_that_a_process_uses_after_it_was_added_is_own(processes: Processes) -> None:
    own = OwnLoad(processes.root)
    own.add_backend(OURS, 40001)
    processes.use(OURS, 0.5)
    assert own.seconds() == pytest.approx(2.5)


def test_the_time_of_a_process_that_has_ended_remains_own(own: OwnLoad, processes: Processes) -> None:
    processes.use(OURS, 3.0)
    assert own.seconds() == pytest.approx(5.0)
    processes.end(OURS)
    assert own.seconds() == pytest.approx(5.0)
    processes.use(CHECKPOINTER, 1.0)  # the server has no backend of the sink any more
    assert own.seconds() == pytest.approx(5.0)


def test_a_pid_that_is_used_again_is_another_process(own: OwnLoad, processes: Processes) -> None:
    processes.started[OURS] = 7000
    processes.use(OURS, 50.0)
    assert own.seconds() == 2.0
    processes.use(OURS, 50.0)
    assert own.seconds() == 2.0


def test_a_pid_of_a_backend_that_a_writer_gets_begins_without_time(own: OwnLoad, processes: Processes) -> None:
    processes.begin(130, "postgres: emostream emostream 127.0.0.1(40009) idle")
    own.add_backend(130, 40009)
    processes.end(130)
    processes.begin(140, "postgres: emostream emostream 127.0.0.1(40010) idle")
    own.add_backend(140, 40010)
    own.seconds()
    processes.end(OURS)
    processes.begin(OURS, "postgres: io worker 7", used=60.0)
    assert own.seconds() == 2.0
    processes.use(OURS, 1.0)
    assert own.seconds() == pytest.approx(3.0)


def test_a_pid_of_another_process_that_a_writer_gets_is_checked_again(own: OwnLoad, processes: Processes) -> None:
    processes.end(THEIRS)
    own.seconds()
    processes.begin(THEIRS, "postgres: io worker 7")
    own.seconds()
    processes.use(THEIRS, 1.0)
    assert own.seconds() == pytest.approx(3.0)


def test_a_counter_that_goes_back_subtracts_nothing(own: OwnLoad, processes: Processes) -> None:
    processes.use(OURS, 3.0)
    assert own.seconds() == pytest.approx(5.0)
    processes.use(OURS, -2.0)
    assert own.seconds() == pytest.approx(5.0)


def test_a_dropped_backend_counts_as_load_of_others(own: OwnLoad, processes: Processes) -> None:
    processes.begin(130, "postgres: emostream emostream 127.0.0.1(40009) idle")
    assert own.add_backend(130, 40009)
    own.seconds()
    own.drop_backend(OURS)
    own.drop_backend(4711)
    processes.use(OURS, 3.0)
    processes.use(130, 0.25)
    assert own.seconds() == pytest.approx(2.25)
    processes.use(OURS, 3.0)
    assert own.seconds() == pytest.approx(2.25)


def test_parallel_workers_of_own_backends_count_as_own(own: OwnLoad, processes: Processes) -> None:
    processes.begin(PARALLEL, f"postgres: parallel worker for PID {OURS} ")
    processes.begin(PARALLEL + 1, f"postgres: parallel worker for PID {THEIRS} ")
    own.seconds()
    processes.use(PARALLEL, 1.0)
    processes.use(PARALLEL + 1, 16.0)
    assert own.seconds() == pytest.approx(3.0)


def test_a_child_without_a_title_is_checked_again(own: OwnLoad, processes: Processes) -> None:
    processes.titles[FORKED] = "postgres: walwriter "
    processes.write()
    own.seconds()
    processes.use(FORKED, 1.0)
    assert own.seconds() == pytest.approx(3.0)


def test_processes_outside_of_the_measured_cgroup_are_not_own(processes: Processes) -> None:
    assert not OwnLoad(processes.root, lambda pid: pid != OURS).add_backend(OURS, 40001)
    own = OwnLoad(processes.root, lambda pid: pid != CHECKPOINTER)
    assert own.add_backend(OURS, 40001)
    own.seconds()
    processes.use(CHECKPOINTER, 3.0)
    assert own.seconds() == 2.0


@pytest.mark.parametrize(
    ("path", "inside"), [("/app", True), ("/app/db", True), ("/apple", False), ("/", False), ("/app/../x", False)]
)
def test_which_processes_a_cgroup_holds(cgroups: Cgroups, path: str, inside: bool) -> None:
    cgroups.version_2("/app", {"app/cpu.max": "100000 100000\n", "app/cpu.stat": STAT})
    write(cgroups.proc, {"55/cgroup": f"0::{path}\n"})
    source = find_source(cgroups.proc)
    assert source.holds(55) is inside
    assert not source.holds(56)


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield child
    child.kill()
    child.wait()


def test_the_children_of_this_process_are_not_own(burner: subprocess.Popen[bytes]) -> None:
    own = OwnLoad()
    child = psutil.Process(burner.pid)
    own_before, child_before = own.seconds(), child.cpu_times().user
    while child.cpu_times().user < child_before + 0.3:
        time.sleep(0.02)
    assert own.seconds() - own_before < 0.2


def test_the_local_port_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as end:
        assert client_port(end.fileno()) == end.getsockname()[1]
        end.send(b"still open")
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert client_port(left.fileno()) is None
