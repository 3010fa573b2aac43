"""A system under test: a process on cores of its own, its output in a file."""

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

from benchmarks.harness.waiting import until

STOP_TIMEOUT_S = 40.0
"""For a clean stop of all. The slowest is an emostream worker of several processes, which takes 33 s at most: its
supervisor gives them 28 s, and those that it has to kill 5 s more."""

KILL_S = 5.0
"""For the system to remove a process that was killed, and for one to notice that its parent was."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CAN_PIN = hasattr(os, "sched_setaffinity")


class ProgramError(Exception):
    """A system ended that should run."""


class Program:
    """A child process and its descendants. A context manager: all are stopped at the end."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, cores: Collection[int]
    ) -> None:
        """Start it.

        Args:
            argv: program and arguments.
            env: its whole environment.
            folder: where it runs.
            log: receives its output.
            cores: what it may run on; empty for all.
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
        # It has one thread yet, and the others inherit.
        pin(self._process.pid, cores)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise if the process has ended.

        Raises:
            ProgramError: with the last line of its log.
        """
        code = self._process.poll()
        if code is not None:
            raise ProgramError(f"ended with exit code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line of its log."""
        lines = _CONTROL.sub("", self.log.read_text("utf-8", "replace")).strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        family = self._descendants()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # What outlived it in its session was not told to stop, and is of no use.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Those with a session of their own, as a supervisor's, may be about to stop.
        if not until(lambda: not any(map(_runs, family)), max(KILL_S, deadline - time.monotonic())):
            for process in filter(_runs, family):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            until(lambda: not any(map(_runs, family)), KILL_S)

    def _descendants(self) -> list[psutil.Process]:
        # Once it has ended, nobody knows any more whose children they were.
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pin(pid: int, cores: Collection[int]) -> None:
    """Confine every thread of a process, and what it starts from now on, to some cores; no cores for no limit."""
    if not cores or not CAN_PIN:
        return
    tasks = Path(f"/proc/{pid}/task")
    for task in [int(entry.name) for entry in tasks.iterdir()] if tasks.is_dir() else [pid]:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(task, cores)
