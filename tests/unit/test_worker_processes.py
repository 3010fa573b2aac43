"""The processes of a worker: their number, threads, ports and environment, and the meaning of their exit codes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.errors import LoadError, RejectedError
from connectors.machine.cores import usable_cores
from streams.connections import model_threads
from streams.errors import InputError, SettingsError
from streams.process import worker_processes
from streams.process.lifeline import Lifeline
from streams.process.supervisor import describe_exit, exit_code
from streams.process.worker_processes import check_ports_free, child_commands, child_environment, web_ports
from tests.helpers import make_settings


class TestProcessPlan:
    @pytest.fixture(autouse=True)
    def cores(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        def set_cores(count: int) -> None:
            monkeypatch.setattr("streams.connections.usable_cores", lambda: count)
            monkeypatch.setattr("streams.process.worker_processes.usable_cores", lambda: count)

        set_cores(8)
        return set_cores

    def test_one_process_per_core_with_one_thread(self) -> None:
        found = worker_processes.plan_processes(make_settings(partitions=12))
        assert (found.processes, found.threads, found.capped) == (8, 1, False)
        assert found.note == "8 processes with 1 thread each (8 cores, 12 partitions)"

    def test_no_more_than_partitions_and_the_cores_are_divided(self) -> None:
        found = worker_processes.plan_processes(make_settings(partitions=3))
        assert (found.processes, found.threads, found.capped, found.idle) == (3, 2, True, 0)

    def test_the_user_may_set_more_processes_than_partitions(self) -> None:
        found = worker_processes.plan_processes(make_settings(partitions=4, worker_processes=16))
        assert (found.processes, found.threads, found.idle) == (16, 1, 12)
        assert worker_processes.plan_processes(make_settings(partitions=4, worker_processes=4)).idle == 0

    def test_one_process_has_all_cores(self) -> None:
        assert worker_processes.plan_processes(make_settings(worker_processes=1)).threads == 8
        assert worker_processes.plan_processes(make_settings(partitions=1)).threads == 8

    def test_threads_that_the_user_set_are_not_divided(self) -> None:
        assert worker_processes.plan_processes(make_settings(partitions=8, model_threads=3)).threads == 3

    def test_a_machine_with_one_core_has_one_process(self, cores: Callable[[int], None]) -> None:
        cores(1)
        found = worker_processes.plan_processes(make_settings(partitions=8))
        assert (found.processes, found.threads, found.capped) == (1, 1, False)


class TestCores:
    @pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.5, 1), (2.0, 2), (64.0, 6)])
    def test_a_quota_limits_the_cores(self, monkeypatch: pytest.MonkeyPatch, quota: float, expected: int) -> None:
        class Source:
            def capacity(self) -> float:
                return quota

        monkeypatch.setattr("connectors.machine.cores.available_cores", lambda: 6)
        monkeypatch.setattr("connectors.machine.cores.find_source", Source)
        assert usable_cores() == expected
        assert model_threads(make_settings()) == expected

    def test_a_quota_that_cannot_be_read_does_not_limit_the_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreadable() -> None:
            raise LoadError("no")

        monkeypatch.setattr("connectors.machine.cores.available_cores", lambda: 6)
        monkeypatch.setattr("connectors.machine.cores.find_source", unreadable)
        assert usable_cores() == 6


def test_ports_are_consecutive() -> None:
    assert web_ports(6066, 3) == [6066, 6067, 6068]
    assert web_ports(0, 3) == [0, 0, 0]
    assert web_ports(65_534, 2) == [65_534, 65_535]
    with pytest.raises(SettingsError, match="EMOSTREAM_WEB_PORT: 3 processes from 65534 on"):
        web_ports(65_534, 3)


def test_a_port_that_is_in_use_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RejectedError, match=rf"^port {port} is in use; .*\(2 processes need the ports"):
            check_ports_free("127.0.0.1", [0, port])
    check_ports_free("127.0.0.1", [0, 0])


def test_a_process_has_the_environment_of_the_supervisor_and_its_number_of_threads() -> None:
    given = {"PATH": "/bin", "emostream_model_threads": "0", "EMOSTREAM_REDIS_PREFIX": "x"}
    assert child_environment(given, 2) == {
        "PATH": "/bin",
        "EMOSTREAM_REDIS_PREFIX": "x",
        "EMOSTREAM_MODEL_THREADS": "2",
    }


def test_a_process_searches_the_current_folder_only_like_the_supervisor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/usr/lib/python"])
    (command,) = child_commands([0]).values()
    assert command[:4] == [sys.executable, "-P", "-m", "streams"]
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/usr/lib/python"])
    commands = child_commands([6066, 6067])
    assert commands["worker-1"][1:] == [
        *("-m", "streams", "worker", "--processes", "1", "--web-port", "6067", "--name", "worker-1"),
    ]


def test_exit_codes_and_their_descriptions() -> None:
    assert [exit_code(code) for code in (0, 1, 3, -9, -15)] == [1, 1, 3, 137, 143]
    assert [describe_exit(code) for code in (0, 2, -9, -63)] == [
        "ended with exit code 0",
        "ended with exit code 2",
        "was killed by SIGKILL",
        "was killed by signal 63",
    ]


def test_the_supervisor_loads_neither_faust_nor_the_model() -> None:
    heavy = {"faust", "onnxruntime", "numpy", "confluent_kafka"}
    script = f"import sys, streams.cli.worker, streams.process.worker_processes; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_lifeline_must_be_a_socket() -> None:
    with open(os.devnull) as file, pytest.raises(InputError, match="is not a lifeline"):  # noqa: PTH123
        Lifeline(file.fileno())
