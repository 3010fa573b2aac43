"""Starts, probes and stops single servers, and records each change in the state file."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Lock

import psutil

from connectors.errors import LocalStackError
from connectors.local import ports, process
from connectors.local.process import Cancelled
from connectors.local.server import NotAnsweringError, Server, ServerStatus, memory
from connectors.local.state import StackState, StateFile

_STOP_TIMEOUT_S = 15.0
"""Seconds for all servers together to stop. They usually take less than 2 s."""

_HUNG_AFTER_S = 5.0
"""Seconds that a running server has to answer. One that does not is restarted."""

_PROBE_TIMEOUT_S = 2.0
_POLL_S = 0.05

_PORT_ATTEMPTS = 3
"""Starts with different ports, in case another program takes a port between its choice and the server's start."""


class Lifecycle:
    """Starts, probes and stops servers. All methods except `status` and `answers` require the stack's file lock.

    `start` may run in one thread per server, all with the same state. Each thread changes the record of its own server
    only; a lock in this object protects the choice of ports and the saving of the state.
    """

    def __init__(self, data_dir: Path, state_file: StateFile) -> None:
        self._data_dir = data_dir
        self._state_file = state_file
        self._lock = Lock()

    def status(self, server: Server, state: StackState) -> ServerStatus:
        """Returns the current status of one server; takes at most about 3 s."""
        record = state.server(server.name)
        running = process.find(record.pid, record.create_time)
        address = server.address(record.ports)
        if running is None:
            return ServerStatus(server.name, "stopped", None, address, record.version, None)
        try:
            version = server.probe(record.ports, state, _PROBE_TIMEOUT_S)
        except NotAnsweringError:
            return ServerStatus(server.name, "unhealthy", running.pid, address, record.version, memory(running))
        return ServerStatus(server.name, "running", running.pid, address, version, memory(running))

    def answers(self, server: Server, state: StackState) -> bool:
        """Returns whether a server runs and answers. A server that has just started has some seconds to answer."""
        record = state.server(server.name)
        deadline = time.monotonic() + _HUNG_AFTER_S
        while running := process.find(record.pid, record.create_time):
            if process.is_frozen(running):
                return False
            try:
                server.probe(record.ports, state, _PROBE_TIMEOUT_S)
            except NotAnsweringError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_POLL_S)
            else:
                return True
        return False

    def start(self, server: Server, state: StackState, taken: set[int], cancel: Event) -> None:
        """Start one server that is not running, and wait until it answers.

        If another program has taken one of its ports meanwhile, the server is started again with other ports.

        Raises:
            Cancelled: `cancel` was set.
            LocalStackError: The server did not start, or did not answer in time.
        """
        server.prepare(state, cancel)
        record = state.server(server.name)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            with self._lock:
                own = set(record.ports.values())
                record.ports = ports.choose(server.port_names, record.ports, taken - own)
                taken.update(record.ports.values())
            begin = server.rotate_log()  # the log of this start begins here
            launch = server.launch(record.ports, state)
            if cancel.is_set():
                raise Cancelled
            running = process.spawn(launch, server.log)
            record.pid, record.create_time = running.pid, running.create_time()
            self._save(state)
            try:
                record.version = self._wait_for_answer(server, running, state, begin, cancel)
            except LocalStackError:
                stolen = process.is_gone(running) and not all(map(ports.is_free, record.ports.values()))
                if not stolen or attempt == _PORT_ATTEMPTS:
                    raise
            else:
                self._save(state)
                return

    def _wait_for_answer(
        self, server: Server, running: psutil.Process, state: StackState, begin: int, cancel: Event
    ) -> str:
        deadline = time.monotonic() + server.start_timeout_s
        while True:
            if process.is_gone(running):
                raise LocalStackError(f"{server.name} stopped while starting{process.tail(server.log, begin)}")
            try:
                return server.probe(state.server(server.name).ports, state, _PROBE_TIMEOUT_S)
            except NotAnsweringError as exc:
                if time.monotonic() > deadline:
                    raise LocalStackError(
                        f"{server.name} did not answer within {server.start_timeout_s:.0f} s "
                        f"({exc}){process.tail(server.log, begin)}"
                    ) from exc
            if cancel.wait(_POLL_S):
                raise Cancelled

    def halt(self, servers: Sequence[Server], state: StackState) -> None:
        """Stop servers, cleanly if they react, and record that they are stopped.

        Raises:
            LocalStackError: A process could not be stopped.
        """
        self.stop_processes(servers, state)
        for server in servers:
            record = state.server(server.name)
            record.pid = record.create_time = None
        self._save(state)

    def stop_processes(self, servers: Sequence[Server], state: StackState) -> None:
        """Stop the recorded processes of `servers`, and all other processes of theirs."""
        marked = process.find_marked(self._data_dir)
        stopping: dict[int, tuple[psutil.Process, signal.Signals]] = {}
        for server in servers:
            record = state.server(server.name)
            recorded = process.find(record.pid, record.create_time)
            for found in [*([recorded] if recorded else []), *marked.get(server.name, [])]:
                stopping[found.pid] = (found, server.stop)
        process.stop_all(stopping.values(), _STOP_TIMEOUT_S)
        # Leftover child processes come after their parents: most have ended by themselves by now.
        process.stop_all(
            [(found, signal.SIGQUIT) for server in servers for found in server.leftovers()], _STOP_TIMEOUT_S
        )

    def _save(self, state: StackState) -> None:
        with self._lock:
            self._state_file.save(state)
