"""Runs a worker as several processes: started, stopped and ended together.

    supervisor ── worker-0, worker-1, …      each a whole worker with a web port of its own

- The first one begins alone, and the others when it has checked and loaded everything. So what keeps all from starting
  is told once, and a model is downloaded once. What Python has to import, the others have by then.
- SIGTERM or Ctrl-C stops all of them, within a bounded time; a second one kills them. They are in sessions of their
  own, so that the terminal's Ctrl-C reaches them through here only, once.
- One that ends by itself ends all. To start again is for whoever runs the worker: systemd, Compose, Kubernetes.
- A supervisor that is killed lets go of its lifelines, and its processes stop by themselves.

This process only waits: no Faust and no model in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.errors import EmostreamError
from streams.process.lifeline import GO

logger = logging.getLogger(__name__)

KILL_S = 5.0
"""For the system to remove a process that was killed."""


def exit_code(returncode: int) -> int:
    """Ours for that of a process which should have gone on: at least 1, and 128 + N for signal N, as shells have it."""
    return 128 - returncode if returncode < 0 else max(1, returncode)


def describe_exit(returncode: int) -> str:
    """In words."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


@dataclass(frozen=True)
class Child:
    """A process that runs, or has ended.

    Attributes:
        name: for the log.
        process: to send signals to.
        lifeline: our side.
        ended: its return code; negative for a signal.
    """

    name: str
    process: asyncio.subprocess.Process
    lifeline: socket.socket
    ended: asyncio.Task[int]

    def __str__(self) -> str:
        return f"{self.name} (pid {self.process.pid})"

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def go(self) -> None:
        """Let it begin; nothing where it has ended."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self.lifeline, GO)

    async def is_ready(self) -> bool:
        """Wait until it says that it has checked and loaded everything; False if it ended first."""
        # Reset where it ended without having read that it may go.
        with contextlib.suppress(ConnectionResetError):
            if await asyncio.get_running_loop().sock_recv(self.lifeline, 64):
                return True
        # Not awaited directly: who stops waiting for this would cancel it for all who wait for the process.
        await asyncio.wait([self.ended])
        return False


async def start(name: str, command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start a process, with `--lifeline FD` added to its arguments; it waits until it may go.

    Raises:
        EmostreamError: the system refuses.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                *("--lifeline", str(theirs.fileno())),
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
    except OSError as exc:
        ours.close()
        raise EmostreamError(f"cannot start {name}: {exc.strerror or exc}") from exc
    return Child(name, process, ours, asyncio.ensure_future(process.wait()))


class Supervisor:
    """Runs processes as one. For one `run`, in the main thread."""

    def __init__(
        self, commands: Mapping[str, Sequence[str]], *, env: Mapping[str, str], stop_s: float, note: str
    ) -> None:
        """Prepare.

        Args:
            commands: program and arguments of each process, by name; the first one begins alone.
            env: the whole environment of each.
            stop_s: how long they may take to stop.
            note: logged when all are started.
        """
        self._commands = commands
        self._env = env
        self._note = note
        self._stop_s = stop_s
        self._children: list[Child] = []
        self._signals: list[int] = []
        self._told = asyncio.Event()
        self._forced = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal, or until one of them ends; the exit code.

        Raises:
            EmostreamError: the system refuses to start one.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        lost: Child | None = None
        try:
            lost = await self._watch()
        finally:
            stopped = await self._stop_all(lost)
            for child in self._children:
                child.lifeline.close()
        if self._forced.is_set() and not stopped:
            return 128 + self._signals[-1]
        if lost is not None:
            return exit_code(lost.ended.result())
        return 0 if stopped else 1

    def _on_signal(self, number: int) -> None:
        self._signals.append(number)
        (self._forced if self._told.is_set() else self._told).set()

    async def _watch(self) -> Child | None:
        """Start them, and wait; the one that ended by itself, or None after a signal."""
        for name, command in self._commands.items():
            self._children.append(await start(name, command, self._env))
        first, *others = self._children
        ended = [child.ended for child in self._children]
        await first.go()
        ready = asyncio.ensure_future(first.is_ready())
        try:
            if await self._told_before(ready, *ended):
                return None
            begun = ready.done() and ready.result()
        finally:
            ready.cancel()
        if begun:
            for child in others:
                await child.go()
            logger.info("%s: %s", self._note, ", ".join(map(str, self._children)))
            if await self._told_before(*ended):
                return None
        lost = next(child for child in self._children if child.ended.done())
        code = lost.ended.result()
        # The first one, where it could not begin, has said why itself, in one line.
        if begun or lost is not first or code <= 0:
            logger.error("%s %s; stopping the others", lost, describe_exit(code))
        return lost

    async def _told_before(self, *events: asyncio.Future[Any]) -> bool:
        """Wait for a signal or for one of the events; whether it was the signal."""
        told = asyncio.ensure_future(self._told.wait())
        try:
            await asyncio.wait([told, *events], return_when=asyncio.FIRST_COMPLETED)
        finally:
            told.cancel()
        return self._told.is_set()

    async def _stop_all(self, lost: Child | None) -> bool:
        """Stop what still runs, or kill it; whether everything but the lost one stopped as it should."""
        running = [child for child in self._children if not child.ended.done()]
        for child in running:
            child.send(signal.SIGTERM)
        hurry: asyncio.Future[Any] = asyncio.ensure_future(self._forced.wait())
        everything: asyncio.Future[Any] = asyncio.gather(*(child.ended for child in running))
        await asyncio.wait([everything, hurry], timeout=self._stop_s, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        late = [child for child in running if not child.ended.done()]
        for child in late:
            child.send(signal.SIGKILL)
            why = "at the second signal" if self._forced.is_set() else f"it did not stop in {self._stop_s:.0f} s"
            logger.error("killed %s: %s", child, why)
        if late:
            await asyncio.wait([everything], timeout=KILL_S)
        clean = not late
        for child in self._children:
            # Before it takes note of signals, the signal ends it, and nothing is lost by that.
            if child not in (*late, lost) and child.ended.result() not in {0, -signal.SIGTERM}:
                when = "while all were being stopped" if child in running else "before it was told to stop"
                logger.error("%s %s %s", child, describe_exit(child.ended.result()), when)
                clean = False
        return clean
