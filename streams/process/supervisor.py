"""Runs a worker or the HTTP service as several processes that start and stop together.

    supervisor ── worker-0, worker-1, …      each a worker of its own, with its own web port

1. Start all processes. Each imports its modules, and then waits until it may begin.
2. Let the first process begin, and wait until it is ready: it has checked and loaded everything. So an error that all
   processes would have is reported once, and a model is downloaded once.
3. Let the other processes begin.
4. Wait for SIGTERM or Ctrl-C, or until a process ends by itself.
5. Stop all processes: SIGTERM first, and SIGKILL after `stop_s` or at a second signal.

The processes of a worker are not restarted: systemd, Compose or Kubernetes restarts the worker. With a `RestartPolicy`,
as the HTTP service has one, a process that ends in step 4 is started again after a pause, and the others run on. All
are stopped if it ends too often in a row. Each process runs in a session of its
own, so that the terminal's Ctrl-C reaches it through the supervisor only. If the supervisor is killed, its ends of the
lifelines close, and the processes stop by themselves (`streams.process.lifeline`).

The supervisor imports neither Faust nor the model.
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
from streams.process.restarts import RestartPolicy, Restarts

logger = logging.getLogger(__name__)

KILL_S = 5.0
"""Seconds to wait until the system has removed killed processes."""


def exit_code(returncode: int) -> int:
    """Returns the supervisor's exit code after a process ended by itself: at least 1, and 128 + N for signal N.

    `returncode` is that of the process, negative for a signal.
    """
    return 128 - returncode if returncode < 0 else max(1, returncode)


def describe_exit(returncode: int) -> str:
    """Returns how a process ended, in words: "was killed by SIGKILL" for -9."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


@dataclass(frozen=True)
class Child:
    """A process that the supervisor has started.

    Attributes:
        name: its name in the log.
        process: the process.
        lifeline: the supervisor's end of its lifeline.
        ended: a task that ends with the process; its result is the return code, negative for a signal.
    """

    name: str
    process: asyncio.subprocess.Process
    lifeline: socket.socket
    ended: asyncio.Task[int]

    def __str__(self) -> str:
        return f"{self.name} (pid {self.process.pid})"

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def go(self) -> None:
        """Let the process begin, unless it has ended."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self.lifeline, GO)

    async def is_ready(self) -> bool:
        """Wait until the process reports that it is ready, and return True; return False if it ended first."""
        # The connection is reset if the process ended before it read `GO`.
        with contextlib.suppress(ConnectionResetError):
            if await asyncio.get_running_loop().sock_recv(self.lifeline, 64):
                return True
        # `await self.ended` would cancel the task, for all who wait for it, if this call is cancelled.
        await asyncio.wait([self.ended])
        return False


async def start(name: str, command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start a process with `--lifeline FD` added to its arguments. It waits for `Child.go`.

    Raises:
        EmostreamError: The system refuses to start it.
    """
    supervisor_end, process_end = socket.socketpair()
    supervisor_end.setblocking(False)
    try:
        with process_end:
            process = await asyncio.create_subprocess_exec(
                *command,
                *("--lifeline", str(process_end.fileno())),
                env=env,
                stdin=subprocess.DEVNULL,
                pass_fds=(process_end.fileno(),),
                start_new_session=True,
            )
    except BaseException as exc:
        supervisor_end.close()
        if isinstance(exc, OSError):
            raise EmostreamError(f"cannot start {name}: {exc.strerror or exc}") from exc
        raise
    return Child(name, process, supervisor_end, asyncio.ensure_future(process.wait()))


class Supervisor:
    """Runs processes as one. Call `run` once, in the main thread."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        env: Mapping[str, str],
        stop_s: float,
        note: str,
        restarts: RestartPolicy | None = None,
    ) -> None:
        """Prepare the supervisor; `run` starts the processes.

        Args:
            commands: The program and arguments of each process, by its name. The first process begins alone.
            env: The environment of each process.
            stop_s: Seconds that the processes have to stop before they are killed.
            note: Text that is logged when all processes have begun.
            restarts: When a process that ends is started again, with `--restarts N` added to its arguments; None if
                it ends all.
        """
        self._commands = commands
        self._env = env
        self._note = note
        self._stop_s = stop_s
        self._restarts = restarts
        self._children: list[Child] = []
        self._signals: list[int] = []
        self._stop_requested = asyncio.Event()
        self._kill_requested = asyncio.Event()

    async def run(self) -> int:
        """Run the processes until a signal arrives or one of them ends for good, and return the exit code.

        Raises:
            EmostreamError: The system refuses to start a process.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        failed: Child | None = None
        try:
            failed = await self._run_children()
        finally:
            # Step 5: stop all processes.
            stopped = await self._stop_all(failed)
            for child in self._children:
                child.lifeline.close()
        if self._kill_requested.is_set() and not stopped:
            return 128 + self._signals[-1]
        if failed is not None:
            return exit_code(failed.ended.result())
        return 0 if stopped else 1

    def _on_signal(self, number: int) -> None:
        self._signals.append(number)
        (self._kill_requested if self._stop_requested.is_set() else self._stop_requested).set()

    async def _run_children(self) -> Child | None:
        """Steps 1 to 4. Returns the process that ended by itself, or None after a signal."""
        # Step 1: start all processes.
        for name, command in self._commands.items():
            self._children.append(await start(name, command, self._env))
        first, *others = self._children
        ended = [child.ended for child in self._children]
        # Step 2: let the first process begin, and wait until it is ready.
        await first.go()
        ready = asyncio.ensure_future(first.is_ready())
        try:
            if await self._stop_requested_before(ready, *ended):
                return None
            first_ready = ready.done() and ready.result()
        finally:
            ready.cancel()
        if first_ready:
            # Step 3: let the others begin.
            for child in others:
                await child.go()
            logger.info("%s: %s", self._note, ", ".join(map(str, self._children)))
            # Step 4: wait for a signal, or until a process ends.
            if self._restarts is not None:
                return await self._keep_all(self._restarts)
            if await self._stop_requested_before(*ended):
                return None
        failed = next(child for child in self._children if child.ended.done())
        code = failed.ended.result()
        # A first process that cannot begin has printed the reason itself, in one line.
        if first_ready or failed is not first or code <= 0:
            logger.error("%s %s; stopping the others", failed, describe_exit(code))
        return failed

    async def _keep_all(self, policy: RestartPolicy) -> Child | None:
        """Step 4 with restarts. Returns the process that is in a crash loop, or None after a signal."""
        first = self._children[0]
        keepers = [
            asyncio.ensure_future(self._keep(child, Restarts(policy), is_ready=child is first))
            for child in self._children
        ]
        try:
            if await self._stop_requested_before(*keepers):
                return None
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.wait(keepers)
        return next(keeper for keeper in keepers if not keeper.cancelled()).result()

    async def _keep(self, child: Child, restarts: Restarts, *, is_ready: bool) -> Child:
        """Start a process again whenever it has ended. Returns the process if it is in a crash loop.

        `is_ready` is whether the process has reported that it is ready.

        Raises:
            EmostreamError: The system refuses to start it.
        """
        clock = asyncio.get_running_loop().time
        while True:
            ready_at = clock() if is_ready or await child.is_ready() else None
            await asyncio.wait([child.ended])
            # It no longer takes part in a stop.
            self._children.remove(child)
            child.lifeline.close()
            how = describe_exit(child.ended.result())
            pause_s = restarts.next_s(0.0 if ready_at is None else clock() - ready_at)
            if pause_s is None:
                logger.error("%s %s, again after %d restarts; stopping the others", child, how, restarts.total)
                return child
            logger.error("%s %s; it is started again in %g s (restart %d)", child, how, pause_s, restarts.total)
            await asyncio.sleep(pause_s)
            command = [*self._commands[child.name], "--restarts", str(restarts.total)]
            child, is_ready = await start(child.name, command, self._env), False
            self._children.append(child)
            await child.go()
            logger.info("started %s", child)

    async def _stop_requested_before(self, *events: asyncio.Future[Any]) -> bool:
        """Wait for a signal or for one of the events, and return whether a signal has arrived."""
        stop_requested = asyncio.ensure_future(self._stop_requested.wait())
        try:
            await asyncio.wait([stop_requested, *events], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop_requested.cancel()
        return self._stop_requested.is_set()

    async def _stop_all(self, failed: Child | None) -> bool:
        """Step 5. Returns whether all processes stopped cleanly; `failed`, which ended by itself, does not matter."""
        running = [child for child in self._children if not child.ended.done()]
        for child in running:
            child.send(signal.SIGTERM)
        kill_requested: asyncio.Future[Any] = asyncio.ensure_future(self._kill_requested.wait())
        all_ended: asyncio.Future[Any] = asyncio.gather(*(child.ended for child in running))
        await asyncio.wait([all_ended, kill_requested], timeout=self._stop_s, return_when=asyncio.FIRST_COMPLETED)
        kill_requested.cancel()
        late = [child for child in running if not child.ended.done()]
        why = "at the second signal" if self._kill_requested.is_set() else f"it did not stop in {self._stop_s:.0f} s"
        for child in late:
            child.send(signal.SIGKILL)
            logger.error("killed %s: %s", child, why)
        if late:
            await asyncio.wait([all_ended], timeout=KILL_S)
        clean = not late
        for child in self._children:
            # A process that has no handler for SIGTERM yet ends by it, and has nothing to lose.
            if child not in (*late, failed) and child.ended.result() not in {0, -signal.SIGTERM}:
                when = "while all were being stopped" if child in running else "before it was told to stop"
                logger.error("%s %s %s", child, describe_exit(child.ended.result()), when)
                clean = False
        return clean
