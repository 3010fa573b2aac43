"""The sink's own load is the time of its process, its Postgres backends and the server's writers, and no other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from connectors.machine.own_load import OwnLoad, client_port, parse_stat
from tests.machine_files import (
    CHECKPOINTER,
    FORKED,
    IO,
    OURS,
    PARALLEL,
    SERVER,
    THEIRS,
    TICKS,
    TITLES,
    VACUUM,
    Processes,
)


def test_a_process_name_with_parentheses_and_blanks_is_read() -> None:
    fields = ["S", "17", *["0"] * 9, str(3 * TICKS), str(TICKS // 2), *["0"] * 6, "123456", "0"]
    assert parse_stat(f"42 (a (b) c) {' '.join(fields)}\n") == ("a (b) c", 17, 3.5, 123456)


def test_the_stat_of_this_process_is_read() -> None:
    stat = parse_stat(Path("/proc/self/stat").read_text())
    assert (stat.parent, stat.used) == (os.getppid(), pytest.approx(sum(os.times()[:2]), abs=0.1))


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


@pytest.fixture
def burner() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield child
    child.kill()
    child.wait()


def test_the_children_of_this_process_are_not_own(burner: subprocess.Popen[bytes]) -> None:
    own = OwnLoad()
    child = psutil.Process(burner.pid)
    child_before, before, own_before = child.cpu_times().user, time.process_time(), own.seconds()
    while child.cpu_times().user < child_before + 0.3:
        time.sleep(0.02)
    own_seconds = own.seconds() - own_before
    assert own_seconds <= time.process_time() - before + 0.05  # the clock of the kernel ticks every 10 ms


def test_the_local_port_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as end:
        assert client_port(end.fileno()) == end.getsockname()[1]
        end.send(b"still open")
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert client_port(left.fileno()) is None
