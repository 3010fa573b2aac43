"""The gate under a real load, and next to a real Postgres that works for the sink.

The machine of the tests need not be idle, and what else runs on it would decide when the gate opens. So what is
measured here is not the machine but the processes of the test, as if they were a cgroup: their counters are the
kernel's, and their capacity is what they get when they take all they can, measured first. On an idle machine that is
all processors.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import psutil
import psycopg
import pytest

from connectors.local import LocalStack, postgres
from connectors.local.state import StateFile
from connectors.machine.load import LoadReader, Machine
from connectors.machine.own_load import client_port, parse_stat
from streams.sink.gate.cpu_aware import CpuAwareGate
from streams.sink.gate.rule import GateReason, GateRule
from tests.integration.support import wait_for

pytestmark = pytest.mark.alone

PROCESSORS = psutil.cpu_count() or 1
PULSE_S = 2.0
LIMIT = 0.2
YIELD_S = 1.0
"""The sink yields to a busy moment within this long."""

# Takes all it can get of a processor for two seconds when told to, and says when it begins.
BURNER = f"""
import sys, time
for line in sys.stdin:
    begin = time.monotonic()
    print(begin, flush=True)
    while time.monotonic() < begin + {PULSE_S}:
        pass
"""


class Processes(Machine):
    """This process and some others, as if they were all there is."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__()
        self._used = dict.fromkeys(pids, 0.0)
        self._capacity = float(PROCESSORS)

    def busy(self) -> float:
        for pid in self._used:
            with contextlib.suppress(OSError):  # one that has ended used what it used
                self._used[pid] = parse_stat(Path(f"/proc/{pid}/stat").read_text()).used
        return sum(self._used.values()) + time.process_time()

    def capacity(self) -> float:
        return self._capacity

    def calibrate(self, begin: float, share: float) -> None:
        """Let what is used in a pulse, which began then, be this share of the capacity."""
        before = self.busy()
        time.sleep(begin + PULSE_S - 0.2 - time.monotonic())
        self._capacity = (self.busy() - before) / (PULSE_S - 0.2) / share


def watch(source: Processes) -> tuple[LoadReader, CpuAwareGate]:
    load = LoadReader(source)
    return load, CpuAwareGate(GateRule(limit=LIMIT, calm_s=1.0), load)


def wait_open(gate: CpuAwareGate) -> None:
    wait_for(gate.is_open, seconds=60, what="the gate to open")


def closed_at(gate: CpuAwareGate, deadline: float) -> float:
    """When the gate closed."""
    while gate.is_open():
        if time.monotonic() > deadline:
            pytest.fail(f"still open: {gate.state}")
        time.sleep(0.005)
    return time.monotonic()


@pytest.fixture
def burners() -> Iterator[list[subprocess.Popen[str]]]:
    """One for each processor."""
    found = [
        subprocess.Popen([sys.executable, "-c", BURNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSORS)
    ]
    yield found
    for burner in found:
        burner.kill()
        burner.communicate()


def pulse(burners: list[subprocess.Popen[str]]) -> float:
    """Take all processors for two seconds; returns when the first began."""
    for burner in burners:
        assert burner.stdin is not None
        burner.stdin.write("now\n")
        burner.stdin.flush()
    return min(float(burner.stdout.readline()) for burner in burners if burner.stdout is not None)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_it_closes_within_a_second_of_each_pulse_of_load(burners: list[subprocess.Popen[str]], share: float) -> None:
    source = Processes([burner.pid for burner in burners])
    source.calibrate(pulse(burners), share)
    _, gate = watch(source)
    with gate:
        for _ in range(2):
            wait_open(gate)
            begin = pulse(burners)
            took = closed_at(gate, begin + PULSE_S) - begin
            print(f"a pulse of {share:.0%} of {source.capacity():.2f} processors: closed after {took:.2f} s")
            assert took <= YIELD_S
            while time.monotonic() < begin + PULSE_S:
                assert not gate.is_open()
                time.sleep(0.02)
        wait_open(gate)


def test_the_counters_of_the_machine_hold_the_work_of_its_processes(burners: list[subprocess.Popen[str]]) -> None:
    source, machine = Processes([burner.pid for burner in burners]), Machine()
    pulse(burners)
    at, ours, all_there_is = time.monotonic(), source.busy(), machine.busy()
    time.sleep(1.5)
    at, ours, all_there_is = time.monotonic() - at, source.busy() - ours, machine.busy() - all_there_is
    assert ours > 0.05
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
    """As many as can load all processors; a statement ends after the length of a pulse."""
    found = [
        psycopg.connect(dsn, autocommit=True, options=f"-c statement_timeout={PULSE_S * 1000:.0f}")
        for _ in range(PROCESSORS)
    ]
    yield found
    for connection in found:
        connection.close()


def work(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("SELECT count(md5(i::text)) FROM generate_series(1, 1000000000) AS i")


def test_the_load_of_the_sinks_own_backends_does_not_count(connections: list[psycopg.Connection]) -> None:
    backends = [connection.info.backend_pid for connection in connections]
    server = psutil.Process(backends[0]).parent()
    assert server is not None
    source = Processes([child.pid for child in server.children()])
    with ThreadPoolExecutor(PROCESSORS) as pool:

        def all_work() -> list[Future[None]]:
            return [pool.submit(work, connection) for connection in connections]

        running = all_work()
        source.calibrate(time.monotonic(), share=1.0)
        wait(running)
        load, gate = watch(source)
        with gate:
            for connection in connections:
                assert gate.add_backend(connection.info.backend_pid, client_port(connection.fileno()))
            wait_open(gate)
            own, busy = load.own.seconds(), source.busy()
            running = all_work()
            while not all(done.done() for done in running):
                assert gate.is_open(), gate.state
                time.sleep(0.02)
            busy, own = source.busy() - busy, load.own.seconds() - own
            print(f"own {own:.2f} s of {busy:.2f} s, utilization by others {gate.state.utilization:.3f}")
            assert busy > 0.3 * PULSE_S * source.capacity()  # the processors were taken, and not by others
            assert own == pytest.approx(busy, rel=0.2)

            # The same work over the same connections, which are nobody's now.
            for pid in backends:
                gate.drop_backend(pid)
            begin = time.monotonic()
            running += all_work()
            took = closed_at(gate, begin + PULSE_S) - begin
            print(f"of others: closed after {took:.2f} s")
            assert took <= YIELD_S
            assert gate.state.reason is GateReason.BUSY
            for done in running:
                done.result()


def test_a_backend_is_known_by_its_number_and_our_port(connections: list[psycopg.Connection]) -> None:
    load = LoadReader(Machine())
    pid, port = connections[0].info.backend_pid, client_port(connections[0].fileno())
    assert port is not None
    assert not load.own.add_backend(pid, port + 1)
    assert not load.own.add_backend(pid, None)
    assert load.own.add_backend(pid, port)


def test_the_writers_of_the_server_count_as_own_and_autovacuum_does_not(connections: list[psycopg.Connection]) -> None:
    load = LoadReader(Machine())
    load.own.add_backend(connections[0].info.backend_pid, client_port(connections[0].fileno()))
    load.read()
    titles = {pid: psutil.Process(pid).cmdline()[0].removeprefix("postgres: ") for pid in load.own._helpers}
    kinds = {re.sub(r" \d+| performing.*", "", title).strip() for title in titles.values()}
    assert kinds == {"checkpointer", "background writer", "walwriter", "io worker"}
    strangers = {psutil.Process(pid).cmdline()[0] for pid in load.own._strangers}
    assert any("autovacuum launcher" in title for title in strangers)


def test_a_sample_costs_little(connections: list[psycopg.Connection]) -> None:
    """Eight a second must stay below one percent of a processor; 0.3 ms each were measured."""
    load = LoadReader(Machine())
    load.own.add_backend(connections[0].info.backend_pid, client_port(connections[0].fileno()))
    load.read()
    begin = time.process_time()
    for _ in range(100):
        load.read()
    assert (time.process_time() - begin) / 100 * 8 < 0.01
