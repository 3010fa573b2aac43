"""The log of a run of the tests tells what failed and what ran, also if the run is ended before its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """\
from tests import run_report
from tests.run_report import add_options as pytest_addoption

def pytest_configure(config):
    run_report.CLEAN_UP_S = 3
    run_report.register(config)
"""
FAILS = """\
def test_fails():
    print("what it printed")
    assert 1 + 1 == 3, "wrong sum"
"""
HANGS = """\
import threading
from pathlib import Path

def test_hangs():
    Path("begun").touch()
    threading.Event().wait()
"""
HANGS_AFTER_FAILURE = """\
import threading, pytest

@pytest.fixture
def server():
    yield
    threading.Event().wait()

def test_fails_and_hangs(server):
    assert False, "the server is away"
"""
PLUGINS = ("-p", "xdist.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
SIDE_BY_SIDE = ("--numprocesses=2", "--dist=loadfile", "--max-worker-restart=0")

Run = Callable[..., "Pytest"]


class Pytest:
    """Pytest over files of a test, in a process of its own."""

    def __init__(self, folder: Path, files: dict[str, str], arguments: tuple[str, ...]) -> None:
        for name, text in {"conftest": CONFTEST, **files}.items():
            (folder / f"{name}.py").write_text(text)
        self._log = folder / "log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *PLUGINS, "--rootdir=.", *arguments],
                cwd=folder,
                env={**environment, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self._log.read_text()

    def until_log_has(self, *texts: str) -> None:
        self.until(lambda: all(text in self.log() for text in texts))

    def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert self.process.poll() is None, self.log()
            time.sleep(0.05)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[Pytest] = []

    def start(*arguments: str, **files: str) -> Pytest:
        started.append(Pytest(tmp_path, files, arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.mark.parametrize("arguments", [SIDE_BY_SIDE, ()])
def test_a_failure_is_in_the_log_while_other_tests_run(run: Run, arguments: tuple[str, ...]) -> None:
    started = run(*arguments, test_a=FAILS, test_b=HANGS)
    started.until_log_has("FAILED NOW test_a.py::test_fails (call, 0.0 s)", "AssertionError: wrong sum")
    started.until_log_has("what it printed")


@pytest.mark.parametrize("arguments", [SIDE_BY_SIDE, ()])
def test_a_run_that_is_terminated_names_the_tests_that_run_and_those_that_failed(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    started = run(*arguments, test_a=FAILS, test_b=HANGS)
    started.until_log_has("FAILED NOW")
    started.until((tmp_path / "begun").exists)
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait() == pytest.ExitCode.INTERRUPTED
    log = started.log()
    # The other test may still be cleaning up.
    running = r"ENDED by SIGTERM. Tests that run:\n(?:  .*\n)*?  test_b.py::test_hangs \(for \d+ s\)\n"
    assert re.search(running, log), log
    assert "Tests that failed:\n  test_a.py::test_fails\n" in log
    assert re.search(r'File ".*test_b.py", line 6 in test_hangs', log), log
    assert "1 failed" in log.splitlines()[-1]


def test_a_run_ends_at_its_limit(run: Run) -> None:
    started = run(*SIDE_BY_SIDE, "--run-limit=1", test_a=HANGS)
    assert started.process.wait() == pytest.ExitCode.INTERRUPTED
    assert "ENDED by the limit of 1 s. Tests that run:" in started.log()


def test_a_run_shows_the_files_that_took_longest(run: Run) -> None:
    started = run(*SIDE_BY_SIDE, "--run-limit=600", test_a=FAILS)
    assert started.process.wait() == pytest.ExitCode.TESTS_FAILED
    assert re.search(r"slowest 20 files =+\n +0.\d s test_a.py\n +0.\d s all files", started.log())


def test_a_test_that_hangs_after_its_failure_ends_its_process(run: Run) -> None:
    started = run(*SIDE_BY_SIDE, test_a=HANGS_AFTER_FAILURE)
    assert started.process.wait() == pytest.ExitCode.TESTS_FAILED
    log = started.log()
    assert "FAILED NOW test_a.py::test_fails_and_hangs (call" in log
    assert re.search(r'File ".*test_a.py", line 6 in server', log), log
    assert "crashed while running 'test_a.py::test_fails_and_hangs'" in log
