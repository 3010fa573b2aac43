"""A system under test: a process on cores of its own, its output in a file."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_TIMEOUT_S = 15.0
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CAN_PIN = hasattr(os, "sched_setaffinity")


class ProgramError(Exception):
    """A system ended that should run."""


class Program:
    """A child process and its children. A context manager: it is stopped at the end."""

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

    def wait(self) -> None:
        """Wait for it to end by itself.

        Raises:
            ProgramError: it failed.
        """
        code = self._process.wait()
        if code:
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
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # Children that outlived it, in its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def pin(pid: int, cores: Collection[int]) -> None:
    """Confine every thread of a process, and what it starts from now on, to some cores; no cores for no limit."""
    if not cores or not CAN_PIN:
        return
    tasks = Path(f"/proc/{pid}/task")
    for task in [int(entry.name) for entry in tasks.iterdir()] if tasks.is_dir() else [pid]:
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(task, cores)
