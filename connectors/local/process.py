"""Detached server processes: starts them, finds them again, stops them.

A server is found by its pid and creation time. If that record is lost (by a crash before it was saved, or with a
deleted state file), a server is found by its mark: two variables in its environment that name the data directory and
the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO

import psutil

from connectors.errors import LocalStackError

MARK_DIRECTORY = "EMOSTREAM_LOCAL_MARK_DIR"
MARK_SERVER = "EMOSTREAM_LOCAL_MARK_SERVER"

_POLL_S = 0.02
# psutil computes the creation time from the boot time, which changes a little when the clock is adjusted.
_CREATE_TIME_TOLERANCE_S = 1.0
_KILL_TIMEOUT_S = 5.0


class Cancelled(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The start was cancelled, by Ctrl-C or because another server failed."""


@dataclass(frozen=True)
class Launch:
    """How to run a program.

    Attributes:
        argv: Program and arguments.
        cwd: Working directory.
        env: Environment variables in addition to the inherited ones.
        owner: User and group id to run as; None for those of this process.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    owner: tuple[int, int] | None = None


def spawn(launch: Launch, log: Path) -> psutil.Process:
    """Start a program in a session of its own, so that it keeps running when this process ends.

    Its output is appended to `log`.

    Raises:
        LocalStackError: The program cannot be executed.
    """
    child = _popen(launch, log, subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    # With a return code Popen does not warn that the process still runs. `is_gone` reaps it.
    child.returncode = 0
    return process


def run_tool(launch: Launch, log: Path, cancel: Event, timeout_s: float, stdin: str = "") -> None:
    """Run a program to its end, and append its output to `log`.

    Raises:
        Cancelled: `cancel` was set; the program has been killed.
        LocalStackError: The program failed, or took longer than `timeout_s`. The message has the end of its output.
    """
    start = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + timeout_s
    name = Path(launch.argv[0]).name
    with tempfile.TemporaryFile() as source:
        source.write(stdin.encode())
        source.seek(0)
        child = _popen(launch, log, source)
    try:
        while child.poll() is None:
            if cancel.wait(_POLL_S):
                raise Cancelled
            if time.monotonic() > deadline:
                raise LocalStackError(f"{name} took longer than {timeout_s:.0f} s{tail(log, start)}")
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if child.returncode != 0:
        raise LocalStackError(f"{name} failed with exit status {child.returncode}{tail(log, start)}")


def _popen(launch: Launch, log: Path, stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
    user, group = launch.owner or (None, None)
    # This locale exists on every system, and with it a path may contain any character.
    env = {**os.environ, "LC_ALL": "C.UTF-8", **launch.env}
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                launch.argv,
                cwd=launch.cwd,
                env=env,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if launch.owner is None else [],
            )
    except OSError as exc:
        raise LocalStackError(f"cannot run {launch.argv[0]}: {exc.strerror or exc}") from exc


def is_gone(process: psutil.Process) -> bool:
    """Returns whether a process has ended. An ended child process that was not waited for is reaped."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return True
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return True


def is_frozen(process: psutil.Process) -> bool:
    """Returns whether a process is stopped by a signal, so that it does not react."""
    with contextlib.suppress(psutil.Error):
        return process.status() == psutil.STATUS_STOPPED
    return False


def find(pid: int | None, create_time: float | None) -> psutil.Process | None:
    """Returns the running process with this pid and creation time; None if there is none."""
    if pid is None or create_time is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - create_time) < _CREATE_TIME_TOLERANCE_S
    except psutil.Error:
        return None
    return process if same and not is_gone(process) else None


def find_marked(directory: Path) -> dict[str, list[psutil.Process]]:
    """Returns the running processes with the mark of the stack in `directory`, by server name."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            if env.get(MARK_DIRECTORY) == str(directory) and not is_gone(process):
                found.setdefault(env.get(MARK_SERVER, ""), []).append(process)
    return found


def find_working_in(directory: Path, name: str) -> list[psutil.Process]:
    """Returns the running processes of the program `name` whose working directory is `directory`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == name and process.cwd() == str(directory) and not is_gone(process):
                found.append(process)
    return found


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process. SIGSTOP, SIGCONT and SIGKILL go to its descendants too, as if the machine failed."""
    targets = [process]
    if number in {signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL}:
        with contextlib.suppress(psutil.Error):
            targets += process.children(recursive=True)
    for target in targets:
        with contextlib.suppress(psutil.NoSuchProcess):
            target.send_signal(number)


def stop_all(stopping: Iterable[tuple[psutil.Process, signal.Signals]], timeout_s: float) -> None:
    """Send every process its signal, wait for all within one deadline, then kill those that still run.

    Raises:
        LocalStackError: A process survived, or belongs to another user.
    """
    pending: list[psutil.Process] = []
    try:
        for process, number in stopping:
            pending.append(process)
            send(process, number)
            send(process, signal.SIGCONT)  # a stopped process handles the signal only when it continues
        wait_until(lambda: all(map(is_gone, pending)), timeout_s)
        pending = [process for process in pending if not is_gone(process)]
        for process in pending:
            send(process, signal.SIGKILL)
    except psutil.AccessDenied as exc:
        raise LocalStackError(f"process {exc.pid} belongs to another user; stop it as that user") from exc
    if not wait_until(lambda: all(map(is_gone, pending)), _KILL_TIMEOUT_S):
        pids = ", ".join(str(process.pid) for process in pending if not is_gone(process))
        raise LocalStackError(f"still running although they were killed: the processes {pids}")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll until `condition` holds, for at most `timeout_s`; return whether it held."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def tail(log: Path, start: int, lines: int = 4, width: int = 160) -> str:
    """Returns the end of a log as part of a one-line message; empty if the log cannot be read.

    Args:
        log: The log file.
        start: Offset in bytes at which the log of this start begins.
        lines: Number of lines to show, without those of Java stack traces.
        width: Characters of each line to show.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 32_768))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    kept = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]
    shown = " | ".join(line if len(line) <= width else line[:width] + "…" for line in kept[-lines:])
    return f"; {log} ends: {shown}" if shown else f"; nothing was logged to {log}"
