"""Detached server processes: start them, recognise them again, stop them.

A server is recognised by pid and creation time. Where that record is lost (a crash between the start and the note of
it, a deleted state file), it is found by two variables in its environment that name the data directory and the server.
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
# psutil derives the creation time from the boot time, which moves a little when the clock is disciplined.
_CREATE_TIME_TOLERANCE_S = 1.0
_KILL_TIMEOUT_S = 5.0


class Cancelled(Exception):  # noqa: N818 - not an error: the caller asked for it
    """The start was called off (Ctrl-C, or another server failed)."""


@dataclass(frozen=True)
class Launch:
    """How to run a program.

    Attributes:
        argv: Program and arguments.
        cwd: Working directory.
        env: Variables on top of the inherited ones.
        owner: User and group id to run as, or None for our own.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    owner: tuple[int, int] | None = None


def spawn(launch: Launch, log: Path) -> psutil.Process:
    """Start a program in a session of its own, its output appended to `log`; it outlives this process.

    Raises:
        LocalStackError: The program cannot be executed.
    """
    child = _popen(launch, log, subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    # Never waited for here (is_gone reaps it): with a return code, Popen does not warn that it still runs.
    child.returncode = 0
    return process


def run_tool(launch: Launch, log: Path, cancel: Event, timeout_s: float, stdin: str = "") -> None:
    """Run a program to its end, its output appended to `log`.

    Raises:
        Cancelled: `cancel` was set; the program has been killed.
        LocalStackError: It failed, or took longer than `timeout_s`; with the end of its output.
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
    # A locale that exists everywhere, so that paths with any character can be opened.
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
    """Whether a process has ended. A zombie has; it is reaped if it is our child."""
    try:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return True
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return True


def is_frozen(process: psutil.Process) -> bool:
    """Whether a process has been stopped by a signal and would act on nothing."""
    with contextlib.suppress(psutil.Error):
        return process.status() == psutil.STATUS_STOPPED
    return False


def find(pid: int | None, create_time: float | None) -> psutil.Process | None:
    """The living process with this pid and creation time, if there is one."""
    if pid is None or create_time is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - create_time) < _CREATE_TIME_TOLERANCE_S
    except psutil.Error:
        return None
    return process if same and not is_gone(process) else None


def find_marked(directory: Path) -> dict[str, list[psutil.Process]]:
    """All living processes that carry the mark of the stack in `directory`, by server name."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            if env.get(MARK_DIRECTORY) == str(directory) and not is_gone(process):
                found.setdefault(env.get(MARK_SERVER, ""), []).append(process)
    return found


def find_working_in(directory: Path, name: str) -> list[psutil.Process]:
    """All living processes of the program `name` whose working directory is `directory`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == name and process.cwd() == str(directory) and not is_gone(process):
                found.append(process)
    return found


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Signal a process. What freezes or kills goes to its descendants too, as a hung or crashed machine would."""
    targets = [process]
    if number in {signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL}:
        with contextlib.suppress(psutil.Error):
            targets += process.children(recursive=True)
    for target in targets:
        with contextlib.suppress(psutil.NoSuchProcess):
            target.send_signal(number)


def stop_all(stopping: Iterable[tuple[psutil.Process, signal.Signals]], timeout_s: float) -> None:
    """Ask every process to end with its signal, wait for all within one deadline, then kill what is left.

    Raises:
        LocalStackError: A process survived, or belongs to another user.
    """
    pending: list[psutil.Process] = []
    try:
        for process, number in stopping:
            pending.append(process)
            send(process, number)
            send(process, signal.SIGCONT)  # a frozen process acts on a signal only when it goes on
        wait_until(lambda: all(map(is_gone, pending)), timeout_s)
        pending = [process for process in pending if not is_gone(process)]
        for process in pending:
            send(process, signal.SIGKILL)
    except psutil.AccessDenied as exc:
        raise LocalStackError(f"process {exc.pid} belongs to another user; stop it as that user") from exc
    if not wait_until(lambda: all(map(is_gone, pending)), _KILL_TIMEOUT_S):
        pids = ", ".join(str(process.pid) for process in pending if not is_gone(process))
        raise LocalStackError(f"process {pids} did not end although it was killed")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll until `condition` holds; whether it did within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def tail(log: Path, start: int, lines: int = 4, width: int = 160) -> str:
    """The end of a log as part of a one-line message; empty where nothing was logged.

    Args:
        log: The log file.
        start: Offset in bytes at which the present start of the server began to write.
        lines: How many lines to show; those of Java stack traces do not count.
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
