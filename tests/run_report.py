"""Says in the log what a run of the tests is doing, so that a run that is ended early tells why.

- A test that fails is named with its error in the moment that it fails. pytest itself prints errors at the end only.
- At SIGTERM, and after `--run-limit` seconds, the log gets the tests that run, where their processes are, and the
  failures so far. Then the run ends like one that Ctrl-C ends.
- A test that hangs although its time limit has passed ends its process. pytest-timeout cannot end a test that is
  inside a C function, and sets no limit for the clean-up after a failure.
- At the end there is a list of the files that took longest.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

CLEAN_UP_S = 300.0
"""Seconds that a test has for its clean-up after a failure, or after its time limit."""

CAPTURED_LINES = 40
"""Lines of each captured output that the message of a failure shows, from its end."""

FILES = 20
"""Files in the list at the end."""

STACKS = signal.SIGUSR1
"""The signal at which a test process writes the stacks of its threads."""


def add_options(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-limit",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="end the run after this time, with a list of the tests that run; 0, the default: no limit",
    )


def register(config: pytest.Config) -> None:
    """Register the plugins of this process: a process that xdist started writes no report, because its parent does."""
    errors = os.dup(2)  # pytest redirects 2 while a test runs
    config.add_cleanup(lambda: os.close(errors))
    runs_tests = not config.getoption("numprocesses", None)
    if runs_tests:
        faulthandler.register(STACKS, file=errors)
        config.add_cleanup(functools.partial(faulthandler.unregister, STACKS))
        config.pluginmanager.register(HangingTests(errors))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(RunReport(errors, config.getoption("--run-limit"), runs_tests=runs_tests))


class HangingTests:
    """Ends the process if a test goes on for `CLEAN_UP_S` after its time limit, or after a failure."""

    def __init__(self, errors: int) -> None:
        self._errors = errors

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        marker = item.get_closest_marker("timeout")
        limit = marker.args[0] if marker is not None else float(item.config.getini("timeout") or 0)
        if limit:
            self._end_process_after(limit + CLEAN_UP_S)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(trylast=True)  # after pytest, which has cancelled the limit
    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        if isinstance(node, pytest.Item):
            self._end_process_after(CLEAN_UP_S)

    def _end_process_after(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, file=self._errors, exit=True)


class RunReport:
    """Writes the report, in the process that was started first."""

    def __init__(self, errors: int, limit_s: float, *, runs_tests: bool) -> None:
        self._errors = errors
        self._limit_s = limit_s
        self._reason = "SIGTERM"
        self._running: dict[str, float] = {}
        self._failures: list[str] = []
        self._seconds: dict[str, float] = defaultdict(float)
        self._processes = [os.getpid()] if runs_tests else []
        self._timers: list[threading.Timer] = []

    def pytest_sessionstart(self) -> None:
        signal.signal(signal.SIGTERM, self._end)
        if self._limit_s:
            # If the first does not come through, because the process is inside a C function, the second one does.
            self._after(self._limit_s, self._end_at_limit)
            self._after(self._limit_s + CLEAN_UP_S, lambda: os._exit(pytest.ExitCode.INTERRUPTED))

    def pytest_unconfigure(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for timer in self._timers:
            timer.cancel()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.split("::")[0]] += report.duration
        if report.when not in ("setup", "call", "teardown"):  # xdist reports that the process has died
            self._running.pop(report.nodeid, None)
        if report.failed:
            self._failed(report, f"{report.when}, {report.duration:.1f} s")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._failed(report, "collection")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        self._processes.append(node.gateway._rinfo().pid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        slowest = sorted(self._seconds.items(), key=lambda item: -item[1])[:FILES]
        if not self._limit_s or not slowest:
            return
        terminalreporter.write_sep("=", f"slowest {FILES} files")
        for file, seconds in slowest:
            terminalreporter.write_line(f"{seconds:7.1f} s {file}")
        terminalreporter.write_line(f"{sum(self._seconds.values()):7.1f} s all files")

    def _after(self, seconds: float, act: Any) -> None:
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _failed(self, report: pytest.TestReport | pytest.CollectReport, how: str) -> None:
        self._failures.append(report.nodeid)
        lines = [f"FAILED NOW {report.nodeid} ({how})", report.longreprtext]
        for title, text in report.sections:
            lines += [f"--- {title}", *text.rstrip().splitlines()[-CAPTURED_LINES:]]
        self._write(lines)

    def _end_at_limit(self) -> None:
        self._reason = f"the limit of {self._limit_s:g} s"
        os.kill(os.getpid(), signal.SIGTERM)

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        running = [f"  {nodeid} (for {now - since:.0f} s)" for nodeid, since in self._running.items()]
        lines = [f"ENDED by {self._reason}. Tests that run:", *(running or ["  none"])]
        lines += ["Tests that failed:", *([f"  {nodeid}" for nodeid in self._failures] or ["  none"])]
        self._write(lines)
        for pid in self._processes:
            with contextlib.suppress(ProcessLookupError):  # it has died
                os.kill(pid, STACKS)
            time.sleep(0.2)  # lines of two processes would mix
        raise KeyboardInterrupt

    def _write(self, lines: list[str]) -> None:
        """Write lines at once. A handler of signals may not use a file object that it may have interrupted."""
        data = "\n".join(["", *lines, ""]).encode(errors="backslashreplace")
        while data:
            data = data[os.write(self._errors, data) :]
