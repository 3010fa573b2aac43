"""`emostream worker --processes 2`: real workers that share the partitions, and how they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil
import pytest

from connectors.local.ports import choose, is_free
from streams.ops.demo.processes import LEAVE_S, Role, clean_environment
from streams.process.worker_processes import stop_bound_s
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import (
    PATIENCE_S,
    balanced,
    counter,
    failures,
    free_port,
    good_posts,
    metric_lines,
    produce,
    wait_for,
)
from tests.tiny_model import tiny_package

Start = Callable[..., Role]

SHARDS = {"emostream_shards_owned 2.0"}
"""What each of two processes publishes when both have half of the four."""


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that loads at once: what it says does not matter here."""
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder)
    return str(folder)


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two that follow each other, both free, and not of those that the system gives to outgoing connections."""
    first = choose(["web"], {}, set(), lambda port: is_free(port) and is_free(port + 1))["web"]
    return first, first + 1


@pytest.fixture
def stop_s(settings: Settings) -> float:
    """By when a worker has ended that was told to stop."""
    return stop_bound_s(settings) + LEAVE_S


@pytest.fixture
def worker(start: Start, settings: Settings, ports: tuple[int, int], stop_s: float) -> Iterator[Role]:
    """A worker of two processes, both of which have partitions."""
    role = start("worker", "--processes", "2", "--web-port", str(ports[0]))
    deadline = time.monotonic() + PATIENCE_S
    while [set(metric_lines(port, "emostream_shards_owned")) for port in ports] != [SHARDS, SHARDS]:
        role.check()
        assert time.monotonic() < deadline, role.log.read_text()
        time.sleep(0.1)
    family = children(role)
    yield role
    role.stop()  # which it has been, unless the test failed
    wait_for(lambda: not any(map(runs, family)), seconds=stop_s, what="a process has outlived its test")


def children(role: Role) -> list[psutil.Process]:
    """Both processes; the first is `worker-0`."""
    found = sorted(psutil.Process(role.pid).children(), key=lambda process: process.cmdline())
    assert len(found) == 2
    return found


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def test_they_share_the_partitions_and_a_signal_stops_them(
    settings: Settings, store: WindowStore, start: Start, worker: Role, ports: tuple[int, int], stop_s: float
) -> None:
    sink = start("sink")
    posts = good_posts(400)
    produce(settings, posts, keys=[os.urandom(8) for _ in posts])
    assert failures(await balanced(settings, store, [worker, sink])) == []

    shares = [counter(port, "emostream_posts_classified_total") for port in ports]
    assert sum(shares) == len(posts)
    assert min(shares) > 0
    assert sum(counter(port, "emostream_posts_counted_total") for port in ports) == len(posts)
    assert sum(counter(port, "emostream_posts_repeated_total") for port in ports) == 0

    family = children(worker)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(stop_s) == 0
    assert not any(map(runs, family))
    lines = worker.log.read_text().splitlines()
    said = Counter(line.split()[0] for line in lines if line.endswith(("worker is running", "worker is stopping")))
    assert said == {"worker-0": 2, "worker-1": 2}
    assert "Traceback" not in "\n".join(lines)


async def test_one_that_is_killed_ends_both_and_nothing_is_lost(
    settings: Settings, store: WindowStore, start: Start, worker: Role, stop_s: float
) -> None:
    produce(settings, good_posts(300))
    family = children(worker)
    family[1].kill()
    assert worker.wait(stop_s) == 128 + signal.SIGKILL
    assert not any(map(runs, family))
    lines = [line for line in worker.log.read_text().splitlines() if "killed" in line]
    assert len(lines) == 1
    assert f"worker-1 (pid {family[1].pid}) was killed by SIGKILL; stopping the others" in lines[0]

    again, sink = start("worker"), start("sink")
    assert failures(await balanced(settings, store, [again, sink])) == []


def test_they_do_not_outlive_a_supervisor_that_is_killed(worker: Role, stop_s: float) -> None:
    family = children(worker)
    worker.kill()
    wait_for(lambda: not any(map(runs, family)), seconds=stop_s, what="its processes go on")
    # Not cut off: they left their groups, and the next worker need not wait for a session to time out.
    log = worker.log.read_text()
    assert log.count("worker is stopping") == 2
    assert "Traceback" not in log


def test_ctrl_c_while_the_first_loads_its_model(start: Start, stop_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        remote = {"EMOSTREAM_S3_ENDPOINT": endpoint, "EMOSTREAM_MODEL_URI": "s3://bucket/model"}
        role = start("worker", "--processes", "2", **remote)
        connection, _ = silent.accept()
        with connection:
            os.kill(role.pid, signal.SIGINT)
            assert role.wait(stop_s) == 0
    assert "stopped before the model was loaded" in role.log.read_text()


def run(env: dict[str, str], *arguments: str, **more: str) -> str:
    """Run a worker that must fail; its one line."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", "worker", "--processes", "2", *arguments],
        env=clean_environment({**env, **more}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1, done
    assert done.stderr.startswith("emostream: error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_wrong_address_is_told_once(env: dict[str, str], settings: Settings) -> None:
    closed = free_port()
    line = run(env, EMOSTREAM_REDIS_URL=f"redis://127.0.0.1:{closed}/0")
    assert "Redis did not answer" in line


def test_missing_topics_are_told_once(env: dict[str, str]) -> None:
    assert "missing topics: " in run(env)


def test_each_port_is_looked_at_before_anything_starts(env: dict[str, str], ports: tuple[int, int]) -> None:
    first, second = ports
    with socket.create_server(("127.0.0.1", second)):
        line = run(env, "--web-port", str(first))
    assert f"port {second} is in use" in line
    assert f"2 processes need the ports {first} to {second}" in line
