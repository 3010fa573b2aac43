"""`emostream worker --processes 2`: the processes share the partitions, and end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait

import psutil
import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from connectors.local.ports import choose, is_free
from streams.ops.demo.processes import EXIT_S, Role, clean_environment
from streams.process.worker_processes import stop_bound_s
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import (
    TIMEOUT_S,
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
"""The metric of each of two processes when each publishes half of the four shards."""


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that loads at once; these tests do not check its predictions."""
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder)
    return str(folder)


@pytest.fixture
def ports() -> tuple[int, int]:
    """Two consecutive free ports, outside the range that the system gives to outgoing connections."""
    first = choose(["web"], {}, set(), lambda port: is_free(port) and is_free(port + 1))["web"]
    return first, first + 1


@pytest.fixture
def stop_s(settings: Settings) -> float:
    """Seconds within which a worker ends after SIGTERM."""
    return stop_bound_s(settings) + EXIT_S


@pytest.fixture
def worker(start: Start, settings: Settings, ports: tuple[int, int], stop_s: float) -> Iterator[Role]:
    """A worker of two processes that both have partitions."""
    role = start("worker", "--processes", "2", "--web-port", str(ports[0]))
    deadline = time.monotonic() + TIMEOUT_S
    while [set(metric_lines(port, "emostream_shards_owned")) for port in ports] != [SHARDS, SHARDS]:
        role.check()
        assert time.monotonic() < deadline, role.log.read_text()
        time.sleep(0.1)
    family = children(role)
    yield role
    role.stop()  # the test has stopped it, unless it failed
    wait_for(lambda: not any(map(runs, family)), seconds=stop_s, what="a process has outlived its test")


def children(role: Role) -> list[psutil.Process]:
    """Returns both processes; the first is `worker-0`."""
    found = sorted(psutil.Process(role.pid).children(), key=lambda process: process.cmdline())
    assert len(found) == 2
    return found


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_each_process_has_the_same_partitions_of_both_topics(settings: Settings, start: Start) -> None:
    """It counts the posts that it has classified itself without fetching them."""
    processes = settings.partitions
    role = start("worker", "--processes", str(processes), "--web-port", "0")
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    groups = [f"{settings.group_prefix}-{stage}" for stage in ("classify", "aggregate")]

    def partitions() -> list[dict[str, set[int]]]:
        """Returns the partitions of each process, by topic; empty while a group rebalances or its broker starts."""
        role.check()
        answers = list(admin.describe_consumer_groups(groups).values())
        wait(answers)
        if any(answer.exception() for answer in answers):
            return []
        found = [answer.result() for answer in answers]
        if any(group.state is not ConsumerGroupState.STABLE for group in found):
            return []
        return [
            {
                member.client_id: {one.partition for one in member.assignment.topic_partitions}
                for member in group.members
            }
            for group in found
        ]

    def one_each() -> bool:
        return [sorted(map(len, group.values())) for group in partitions()] == [[1] * processes] * 2

    wait_for(one_each, what="the processes do not have one partition of each topic")
    of_raw, of_classified = partitions()
    assert of_raw == of_classified


async def test_the_processes_share_the_partitions_and_a_signal_stops_them(
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


async def test_a_process_that_is_killed_ends_both_and_no_post_is_lost(
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


def test_the_processes_do_not_outlive_a_supervisor_that_is_killed(worker: Role, stop_s: float) -> None:
    family = children(worker)
    worker.kill()
    wait_for(lambda: not any(map(runs, family)), seconds=stop_s, what="its processes run on")
    # The processes stopped cleanly and left their consumer groups, so the next worker waits for no session timeout.
    log = worker.log.read_text()
    assert log.count("worker is stopping") == 2
    assert "Traceback" not in log


def test_ctrl_c_while_the_first_process_loads_its_model(start: Start, stop_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(TIMEOUT_S)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        remote = {"EMOSTREAM_S3_ENDPOINT": endpoint, "EMOSTREAM_MODEL_URI": "s3://bucket/model"}
        role = start("worker", "--processes", "2", **remote)
        connection, _ = silent.accept()
        with connection:
            os.kill(role.pid, signal.SIGINT)
            assert role.wait(stop_s) == 0
    assert "stopped before the model was loaded" in role.log.read_text()


def run(env: dict[str, str], *arguments: str, **more: str) -> str:
    """Run a worker that must fail, and return its line on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", "worker", "--processes", "2", *arguments],
        env=clean_environment({**env, **more}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1, done
    assert done.stderr.startswith("emostream: error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_wrong_address_is_reported_once(env: dict[str, str], settings: Settings) -> None:
    closed = free_port()
    line = run(env, EMOSTREAM_REDIS_URL=f"redis://127.0.0.1:{closed}/0")
    assert "Redis did not answer" in line


def test_missing_topics_are_reported_once(env: dict[str, str]) -> None:
    assert "missing topics: " in run(env)


def test_every_port_is_checked_before_a_process_starts(env: dict[str, str], ports: tuple[int, int]) -> None:
    first, second = ports
    with socket.create_server(("127.0.0.1", second)):
        line = run(env, "--web-port", str(first))
    assert f"port {second} is in use" in line
    assert f"2 processes need the ports {first} to {second}" in line
