"""How `emostream bench` measures a worker, and its errors if the worker fails.

The processes are real. No server runs: the tests make up the answers of Kafka and Redis.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

from streams.errors import EmostreamError, MeasurementError
from streams.ops.bench import pipeline
from streams.ops.bench.pipeline import Throughput, measure_workers
from streams.ops.demo.processes import EXIT_S, Role, clean_environment, stop_timeout_s
from tests.helpers import make_settings

PIDS = {"kafka": os.getpid(), "redis": os.getpid()}
CHILD_BYTES = 100_000_000
CHILD = f"kept = b'x' * {CHILD_BYTES}; print(flush=True); input()"
WORKER = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""

NO_KAFKA = {
    "EMOSTREAM_WORKER_PROCESSES": "1",
    "EMOSTREAM_WEB_PORT": "0",
    "EMOSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "EMOSTREAM_KAFKA_TIMEOUT_S": "60",
}
"""The environment of a worker whose Kafka does not exist."""


class EmptyKafka:
    """An `OffsetReader` of topics without records."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def bounds(self, _topic: str, _partition: int) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        pass


class FakeWorker:
    """A process with a child, in place of a worker."""

    def __init__(self, *_: object, **__: object) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(b"\n")


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with a thousand results in ten seconds, whose windows are complete 0.9 s later."""
    began = time.time()

    async def complete(*_: object) -> float:
        return began + 10.9

    monkeypatch.setattr(pipeline, "Role", FakeWorker)
    monkeypatch.setattr(pipeline, "_wait_for_results", lambda *_: None)
    monkeypatch.setattr(pipeline, "_wait_for_windows", complete)
    monkeypatch.setattr(pipeline, "_result_times", lambda _: [began + number * 0.01 for number in range(1_001)])


def measured(tmp_path: Path, processes: int, **more: Any) -> Throughput:
    settings = make_settings(worker_processes=processes, **more)
    return measure_workers(settings, {}, PIDS, 1_001, log=tmp_path / "log", on_count=lambda *_: None)


@pytest.mark.usefixtures("fake_worker")
def test_the_measurement_ends_when_the_windows_are_complete(tmp_path: Path) -> None:
    found = measured(tmp_path, 1)
    assert found.measured == 900
    assert found.seconds == pytest.approx(9.9, abs=0.01)
    assert found.posts_per_second == pytest.approx(900 / 9.9, rel=0.001)


@pytest.mark.usefixtures("fake_worker")
def test_the_memory_of_a_supervisor_is_not_that_of_the_workers(tmp_path: Path) -> None:
    found = measured(tmp_path, 2)
    assert 1e6 < found.supervisor_bytes < CHILD_BYTES / 2
    assert CHILD_BYTES < found.worker_bytes < 1.5 * CHILD_BYTES


@pytest.mark.usefixtures("fake_worker")
def test_the_memory_of_a_single_worker_includes_its_children(tmp_path: Path) -> None:
    several, single = measured(tmp_path, 2), measured(tmp_path, 1)
    assert single.supervisor_bytes == 0
    assert single.worker_bytes > several.worker_bytes + 1e6


class TestRealWorkers:
    """Workers that find no Kafka, or whose settings are wrong."""

    @pytest.fixture(autouse=True)
    def nothing_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pipeline, "OffsetReader", EmptyKafka)

    def measure(self, tmp_path: Path, **environment: str) -> None:
        env = clean_environment(NO_KAFKA | environment)
        measure_workers(make_settings(), env, PIDS, 1, log=tmp_path / "log", on_count=lambda *_: None)

    def test_a_worker_that_ends(self, tmp_path: Path) -> None:
        with pytest.raises(EmostreamError, match=r"the worker ended with exit code 1: .*EMOSTREAM_SHARDS"):
            self.measure(tmp_path, EMOSTREAM_SHARDS="none")

    def test_a_worker_without_progress(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pipeline, "STALL_S", 0.2)
        with pytest.raises(MeasurementError, match="0 of 1 posts were classified, then none"):
            self.measure(tmp_path)

    def test_ctrl_c_while_waiting_leaves_no_process_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        role = Role("worker", ["worker"], env=clean_environment(NO_KAFKA), log=tmp_path / "log")
        process, first = role._process, iter([KeyboardInterrupt])
        wait = process.wait

        def interrupted(timeout: float | None = None) -> int:
            for error in first:
                raise error
            return wait(timeout)

        monkeypatch.setattr(process, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt), role:
            pass
        assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("session_ms", "seconds"), [("", 8 + 20 + 5), ("60000", 48 + 20 + 5)])
def test_the_time_to_stop_is_that_of_the_worker(session_ms: str, seconds: float) -> None:
    environment = clean_environment({"EMOSTREAM_KAFKA_SESSION_TIMEOUT_MS": session_ms})
    assert stop_timeout_s(environment) == seconds + EXIT_S


def test_wrong_settings_need_no_time_to_stop() -> None:
    assert stop_timeout_s({"EMOSTREAM_SHARDS": "none"}) == EXIT_S
