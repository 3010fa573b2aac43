"""Runs a system under test: a process on given cores, whose output goes to a file."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.harness.waiting import wait_until

STOP_TIMEOUT_S = 40.0
"""Seconds for a system to stop after SIGTERM. The slowest is an emostream worker of several processes with 33 s: its
supervisor waits 28 s for them to stop, and 5 s after it kills the rest."""

KILL_S = 5.0
"""Seconds for killed processes to disappear, and for children to notice that their parent was killed."""

_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CAN_PIN = hasattr(os, "sched_setaffinity")


class ProgramError(Exception):
    """A program has ended although it should run."""


class Program:
    """A child process and its descendants. A context manager: all of them are stopped on exit."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, cores: Collection[int]
    ) -> None:
        """Start the program.

        Args:
            argv: Program and arguments.
            env: The complete environment.
            folder: The working directory.
            log: The file that receives the output.
            cores: Cores that it may use; empty for all.
        """
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        # The process still has one thread. Later threads and children inherit its cores.
        pin(self._process.pid, cores)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Check that the process still runs.

        Raises:
            ProgramError: The process has ended. The message has the last line of its log.
        """
        code = self._process.poll()
        if code is not None:
            raise ProgramError(f"ended with exit code {code}: {self.last_line()}")

    def last_line(self) -> str:
        """Returns the last line of the log, at most 300 characters."""
        lines = _CONTROL_SEQUENCE.sub("", self.log.read_text("utf-8", "replace")).strip().splitlines()
        return lines[-1][:300] if lines else "the log is empty"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        # Collected now: after the process has ended, its children no longer name it as their parent.
        descendants = self._descendants()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # Kill the processes of its session that the program has not stopped.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Descendants with their own session, such as a supervisor's processes, may still be stopping.
        if not wait_until(lambda: not any(map(_is_running, descendants)), max(KILL_S, deadline - time.monotonic())):
            for process in filter(_is_running, descendants):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            wait_until(lambda: not any(map(_is_running, descendants)), KILL_S)

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pin(pid: int, cores: Collection[int]) -> None:
    """Confine a process to some cores: all its threads, and the children that it starts later. Empty for no limit."""
    if not cores or not CAN_PIN:
        return
    tasks = Path(f"/proc/{pid}/task")
    for task in [int(entry.name) for entry in tasks.iterdir()] if tasks.is_dir() else [pid]:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(task, cores)
