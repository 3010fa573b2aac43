"""The harness's processes: waiting for them, measuring and stopping them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from benchmarks.harness import program
from benchmarks.harness.bench import Bench
from benchmarks.harness.broker import KafkaClient
from benchmarks.harness.posts import Supply
from benchmarks.harness.program import Program, ProgramError
from benchmarks.harness.servers import Cores, Servers
from benchmarks.harness.systems import BARE, BY_NAME, find_installed
from benchmarks.harness.trial import Setup
from benchmarks.harness.waiting import Stall, wait_until
from benchmarks.peers.task import Labeller
from models.text.network import Network
from streams.ops.bench.meter import Meter
from tests.helpers import wait_for
from tests.tiny_model import tiny_package


class TestWaiting:
    def test_a_count_that_stops_growing_is_stalled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter((0.0, 9.0, 19.0, 19.0, 29.0, 29.5, 29.5))
        monkeypatch.setattr("benchmarks.harness.waiting.time.monotonic", lambda: next(clock))
        stall = Stall(10)
        assert not any(stall.reached(posts) for posts in (5, 5, 6, 6))
        assert stall.reached(6)
        assert not stall.reached(7)

    def test_wait_until(self) -> None:
        calls = count()
        assert wait_until(lambda: next(calls) == 2, 60)
        assert not wait_until(lambda: False, 0)

        def check() -> None:
            raise ProgramError("it has ended")

        with pytest.raises(ProgramError):
            wait_until(lambda: True, 60, check)


def start(folder: Path, code: str) -> Program:
    return Program([sys.executable, "-c", code], env={}, folder=folder, log=folder / "log", cores=())


def started_child(folder: Path, running: Program) -> psutil.Process:
    """Returns the child that a program has started, when the program has written the child's pid."""

    def is_written() -> bool:
        running.check()
        return (folder / "child").exists()

    wait_for(is_written, seconds=60)
    return psutil.Process(int((folder / "child").read_text()))


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


START_CHILD = """
import pathlib, signal, subprocess, sys, time
def start(code, **options):
    child = subprocess.Popen([sys.executable, "-c", code], **options)
    pathlib.Path("part").write_text(str(child.pid))
    pathlib.Path("part").rename("child")
"""


class TestProgram:
    def test_the_error_has_the_last_line_of_the_log(self, tmp_path: Path) -> None:
        code = "print('x', flush=True); raise SystemExit('\\x1b[31mno broker\\x1b[0m\\x1b[?25h\\n')"

        def check() -> bool:
            failed.check()
            return False

        with start(tmp_path, code) as failed, pytest.raises(ProgramError, match=r"^ended with exit code 1: no broker$"):
            wait_for(check, seconds=60)

    def test_a_program_and_its_children_are_stopped(self, tmp_path: Path) -> None:
        with start(tmp_path, f"{START_CHILD}\nstart('import time; time.sleep(600)'); time.sleep(600)") as running:
            child = started_child(tmp_path, running)
            assert not has_ended(child)
        wait_for(lambda: has_ended(child))

    def test_a_child_that_stops_after_its_parent_is_waited_for(self, tmp_path: Path) -> None:
        # Like a supervisor's processes: they have their own session, and stop after SIGTERM.
        child_code = (
            "import pathlib, signal, time\n"
            "def stop(*_): time.sleep(0.5); pathlib.Path('clean').touch(); raise SystemExit\n"
            "signal.signal(signal.SIGTERM, stop); pathlib.Path('ready').touch(); time.sleep(600)"
        )
        code = (
            f"{START_CHILD}\n"
            "def stop(*_): children[0].terminate(); raise SystemExit\n"
            "children = []\n"
            "signal.signal(signal.SIGTERM, stop)\n"
            f"children.append(subprocess.Popen([sys.executable, '-c', {child_code!r}], start_new_session=True))\n"
            "pathlib.Path('part').write_text(str(children[0].pid))\n"
            "while not pathlib.Path('ready').exists(): time.sleep(0.01)\n"
            "pathlib.Path('part').rename('child'); time.sleep(600)"
        )
        with start(tmp_path, code) as running:
            child = started_child(tmp_path, running)
        assert has_ended(child)
        assert (tmp_path / "clean").exists()

    def test_a_child_that_does_not_stop_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(program, "STOP_TIMEOUT_S", 0.5)
        monkeypatch.setattr(program, "KILL_S", 1.0)
        code = f"{START_CHILD}\nstart('import time; time.sleep(600)', start_new_session=True); time.sleep(600)"
        with start(tmp_path, code) as running:
            child = started_child(tmp_path, running)
        wait_for(lambda: has_ended(child))

    def test_processor_time_and_memory_include_the_children(self, tmp_path: Path) -> None:
        def spin(file: str) -> str:
            return (
                "import pathlib, time\nwhile time.process_time() < 0.5: pass\n"
                f"pathlib.Path({file!r}).touch(); time.sleep(600)"
            )

        code = f"{START_CHILD}\nstart({spin('childs')!r})\n{spin('own')}"
        begin = time.time()
        with start(tmp_path, code) as running:
            with Meter({"it": running.pid}) as meter:

                def both() -> bool:
                    running.check()
                    return (tmp_path / "childs").exists() and (tmp_path / "own").exists()

                wait_for(both, seconds=120)
            # The meter takes the last sample when it is closed. Both processes still run then.
            spent = meter.cpu_s("it", begin, time.time())
        assert 0.9 < spent < 2.5
        assert meter.peak_bytes("it") > 5e6


def setup_without_servers(tmp_path: Path) -> Setup:
    """A setup for the bare loop, which uses no servers. This process stands in for them in the meter."""
    servers = SimpleNamespace(
        pids={"kafka": os.getpid(), "redis": os.getpid()}, endpoints=SimpleNamespace(kafka_bootstrap="none:1")
    )
    return Setup(
        servers=cast("Servers", servers),
        kafka=cast("KafkaClient", None),
        cores=Cores(),
        folder=tmp_path / "logs",
        model=tiny_package(tmp_path / "model").path,
        network=tmp_path / "none",
        batch=64,
        model_batch=8,
        wait_ms=50,
        partitions=4,
    )


class TestBareLoop:
    def test_it_runs_on_after_its_last_answer(self, tmp_path: Path) -> None:
        # The processor time of a process that has ended cannot be read.
        setup = setup_without_servers(tmp_path)
        (installed,), _ = find_installed([BARE], None)
        given, answers = tmp_path / "given", tmp_path / "answers.jsonl"
        given.write_bytes(Supply(["good"]).first(1)[0].value)
        task = setup.task(BARE, "none", "none", "none")
        with setup.start(installed, [str(given), str(answers)], task, tmp_path, emostream_env={}) as running:
            assert wait_until(answers.exists, 60, running.check)
            assert not wait_until(lambda: has_ended(psutil.Process(running.pid)), 0.5)

    def test_its_answers(self, tmp_path: Path) -> None:
        supply = Supply(["good", "bad", "so so"])
        (installed,), _ = find_installed([BARE], None)
        results, meter = Bench(setup_without_servers(tmp_path), supply)._run_bare(installed, supply.first(200))
        assert [result.id for result in results] == [f"post-{number}" for number in range(200)]
        assert [result.label for result in results] == [results[number % 3].label for number in range(200)]
        assert len({result.at for result in results}) == 4
        assert meter.cpu_s("system", 0, time.time()) > 0.05
        assert not list(tmp_path.glob("logs/*/*.jsonl"))


def test_texts_are_classified_in_the_order_of_arrival_or_sorted_by_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = setup_without_servers(tmp_path)
    texts = ["hello good", "bad", "buy " * 9, "", "good", "hello " * 30, "bad bad good"] * 3
    sizes: list[tuple[int, ...]] = []
    run = Network.run

    def noted(network: Network, ids: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        sizes.append(tuple(len(text) for text in ids))
        return run(network, ids)

    monkeypatch.setattr(Network, "run", noted)
    answers = {}
    for system in (BY_NAME["quixstreams"], BY_NAME["quixstreams-classifier"]):
        labeller = Labeller(setup.task(system, "none", "none", "none"))
        sizes.clear()
        answers[system.name] = labeller(texts)
        flat = [length for batch in sizes for length in batch]
        if system.arrival_order:
            assert [len(batch) for batch in sizes] == [8, 8, 5]
            assert flat[:7] == [2, 1, 9, 1, 1, 16, 3]
        else:
            assert flat == sorted(flat)
    assert answers["quixstreams"] == answers["quixstreams-classifier"]
