"""The gate under a real load, and next to a real Postgres that works for the sink.

The machine of the tests need not be idle, and what else runs on it would decide when the gate opens. So what is
measured here is not the machine but the processes of the test, as if they were a cgroup: their counters are the
kernel's, and their capacity is what they get when they take all they can, measured first. On an idle machine that is
all processors.

What is right or wrong is asked by waiting: the load lasts until the gate has closed. How long that took is asked of the
best of several pulses, since other work on the machine can hold up any one of them.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from connectors.local import LocalStack, postgres
from connectors.local.state import StateFile
from connectors.machine.load import LoadReader, Machine
from connectors.machine.own_load import OwnLoad, client_port
from streams.gate.cpu_aware import CpuAwareGate
from streams.gate.rule import GateReason, GateRule
from tests.integration.burners import PROCESSORS, Burners, Processes, SampleCounter
from tests.integration.support import TIMEOUT_S, wait_for

pytestmark = pytest.mark.alone

LIMIT = 0.2
YIELD_S = 1.0
"""The sink yields to a busy moment within this long."""

PULSES = 3
SAMPLES = 12
"""Samples of the gate, eight a second."""


def watch(source: Processes) -> tuple[SampleCounter, CpuAwareGate]:
    load = SampleCounter(source)
    return load, CpuAwareGate(GateRule(limit=LIMIT, calm_s=1.0), load)


def wait_open(gate: CpuAwareGate) -> None:
    wait_for(gate.is_open, what="the gate to open")


def is_busy(gate: CpuAwareGate) -> bool:
    return gate.state.reason is GateReason.BUSY


def closed_at(gate: CpuAwareGate) -> float:
    """Poll the gate until it is closed; returns the time, on the clock of samples."""
    deadline = time.monotonic() + TIMEOUT_S
    while gate.is_open():
        assert time.monotonic() < deadline, f"still open: {gate.state}"
        time.sleep(0.005)
    return time.monotonic()


@pytest.fixture
def source(burners: Burners) -> Processes:
    """The burners, at rest."""
    found = Processes(burners.pids)
    burners.burn()
    found.calibrate()
    burners.rest()
    return found


def test_it_is_closed_while_there_is_load_and_opens_after_it(burners: Burners, source: Processes) -> None:
    load, gate = watch(source)
    with gate:
        for share in (1.0, 0.6):
            source.share = share
            wait_open(gate)
            burners.burn()
            wait_for(lambda: is_busy(gate), what="the gate to close")
            until = load.samples + SAMPLES
            while load.samples < until:
                assert not gate.is_open(), gate.state
                time.sleep(0.02)
            burners.rest()
        wait_open(gate)


def test_it_closes_within_a_second_of_the_begin_of_the_load(burners: Burners, source: Processes) -> None:
    _, gate = watch(source)
    source.share = 0.6
    took = []
    with gate:
        for _ in range(PULSES):
            wait_open(gate)
            begin = burners.burn()
            took.append(closed_at(gate) - begin)
            burners.rest()
    print(f"60 % of {source.capacity():.2f} processors: closed after {', '.join(f'{one:.2f}' for one in took)} s")
    assert min(took) <= YIELD_S


def test_the_counters_of_the_machine_hold_the_work_of_its_processes(burners: Burners) -> None:
    source, machine = Processes(burners.pids), Machine()
    at, ours, all_there_is = burners.burn(), source.used(), machine.busy()
    wait_for(lambda: source.used() >= ours + 1.0, what="the processes use no processor time")
    ours = source.used() - ours
    all_there_is, at = machine.busy() - all_there_is, time.monotonic() - at
    assert 0.8 * ours <= all_there_is <= 1.1 * at * machine.capacity()


@pytest.fixture(scope="module")
def dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres whose processes can be seen from here, also where the other tests have theirs in containers."""
    folder = tmp_path_factory.mktemp("postgres")
    stack = LocalStack(folder)
    stack.start("postgres")
    state = StateFile(folder / "state.json").load()
    yield postgres.dsn(state.server("postgres").ports, state)
    stack.down()


@pytest.fixture
def connections(dsn: str) -> Iterator[list[psycopg.Connection]]:
    """As many as can load all processors."""
    found = [psycopg.connect(dsn, autocommit=True) for _ in range(PROCESSORS)]
    yield found
    for connection in found:
        connection.close()


def work(connection: psycopg.Connection) -> None:
    """Keep its backend busy until it is cancelled."""
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT count(md5(i::text)) FROM generate_series(1, 1000000000) AS i")


@pytest.fixture
def working(connections: list[psycopg.Connection]) -> Iterator[list[psycopg.Connection]]:
    """The connections, whose backends take all that they can get."""
    with ThreadPoolExecutor(PROCESSORS) as pool:
        running: list[Future[None]] = [pool.submit(work, connection) for connection in connections]
        yield connections
        for connection in connections:
            connection.cancel()
        for done in running:
            done.result()


def test_the_load_of_the_sinks_own_backends_does_not_count(working: list[psycopg.Connection]) -> None:
    """The same work is of others as soon as the backends are nobody's."""
    backends = [connection.info.backend_pid for connection in working]
    server = psutil.Process(backends[0]).parent()
    assert server is not None
    source = Processes([child.pid for child in server.children()])
    source.calibrate()
    load, gate = watch(source)
    with gate:
        for connection in working:
            assert gate.add_backend(connection.info.backend_pid, client_port(connection.fileno()))
        wait_open(gate)
        own, busy, until = load.own.seconds(), source.busy(), load.samples + SAMPLES
        while load.samples < until or source.busy() - busy < source.capacity():
            assert not is_busy(gate), gate.state
            time.sleep(0.02)
        busy, own = source.busy() - busy, load.own.seconds() - own
        print(f"own {own:.2f} s of {busy:.2f} s, utilization by others {gate.state.utilization}")
        assert own == pytest.approx(busy, rel=0.2)

        for pid in backends:
            gate.drop_backend(pid)
        wait_for(lambda: is_busy(gate), what="the gate to close")


def test_a_backend_is_known_by_its_number_and_our_port(connections: list[psycopg.Connection]) -> None:
    load = LoadReader(Machine())
    pid, port = connections[0].info.backend_pid, client_port(connections[0].fileno())
    assert port is not None
    assert not load.own.add_backend(pid, port + 1)
    assert not load.own.add_backend(pid, None)
    assert load.own.add_backend(pid, port)


def copied(pid: int, proc: Path) -> None:
    """What `/proc` says of a process and its children, in a folder of the test's own."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children()]
    for process in processes:
        folder = proc / str(process.pid)
        folder.mkdir()
        for name in ("stat", "cmdline"):
            shutil.copyfile(f"/proc/{process.pid}/{name}", folder / name)
    children = proc / str(pid) / "task" / str(pid) / "children"
    children.parent.mkdir(parents=True)
    children.write_text(" ".join(str(process.pid) for process in processes[1:]))


def use_a_second(pid: int, proc: Path) -> None:
    """Let a process of the copy have used a second more."""
    stat = proc / str(pid) / "stat"
    head, _, tail = stat.read_text().rpartition(")")
    fields = tail.split()
    fields[11] = str(int(fields[11]) + os.sysconf("SC_CLK_TCK"))
    stat.write_text(f"{head}) {' '.join(fields)}")


def test_the_writers_of_the_server_count_as_own_and_autovacuum_does_not(
    connections: list[psycopg.Connection], tmp_path: Path
) -> None:
    """By the titles that the real server's processes have."""
    backend, port = connections[0].info.backend_pid, client_port(connections[0].fileno())
    server = psutil.Process(backend).parent()
    assert server is not None
    copied(server.pid, tmp_path)
    own = OwnLoad(tmp_path)
    assert own.add_backend(backend, port)
    own.seconds()
    counts: dict[str, bool] = {}
    for process in server.children():
        title = process.cmdline()[0].removeprefix("postgres: ")
        before = own.seconds()
        use_a_second(process.pid, tmp_path)
        kind = "ours" if process.pid == backend else re.sub(r" \d+| performing.*", "", title).strip()
        counts[kind] = own.seconds() - before > 0.9
    assert {kind for kind, is_own in counts.items() if is_own} == {
        *("ours", "checkpointer", "background writer", "walwriter", "io worker"),
    }
    assert counts["autovacuum launcher"] is False


def test_a_sample_costs_little(connections: list[psycopg.Connection]) -> None:
    """Eight a second must stay below one percent of a processor; 0.3 ms each were measured."""
    load = LoadReader(Machine())
    load.own.add_backend(connections[0].info.backend_pid, client_port(connections[0].fileno()))
    load.read()
    costs = []
    for _ in range(5):
        begin = time.process_time()
        for _ in range(20):
            load.read()
        costs.append((time.process_time() - begin) / 20)
    assert min(costs) * 8 < 0.01
