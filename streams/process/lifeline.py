"""A process's connection to the supervisor that started it: one end of a socket pair, inherited.

The supervisor writes when the process may begin, the process writes when it is ready, and beyond that nothing is said.
The supervisor alone holds the other side. However that one ended, also by SIGKILL, the system closes it, and the
process stops as if by SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading

from streams.errors import InputError

GO = b"go\n"
READY = b"ready\n"


class Lifeline:
    """The process's side. It is watched from the construction on, by a thread that nothing waits for."""

    def __init__(self, fd: int) -> None:
        """Take over the file descriptor.

        Raises:
            InputError: it is no socket; nobody but a supervisor gives one.
        """
        try:
            self._socket = socket.socket(fileno=fd)
        except (OSError, ValueError) as exc:
            raise InputError(f"file descriptor {fd} is no lifeline: {exc}") from exc
        self._socket.set_inheritable(False)
        self._go = threading.Event()
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def wait_for_go(self) -> None:
        """Wait until the supervisor says that this process may begin; a signal ends the wait."""
        self._go.wait()

    def report_ready(self) -> None:
        """Tell the supervisor that everything is checked and loaded."""
        # If it has gone, that is seen, and acted on, by who reads.
        with contextlib.suppress(OSError):
            self._socket.sendall(READY)

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(64):
                self._go.set()
        # To ourselves: whatever is prepared for a signal, or not yet, is what happens.
        os.kill(os.getpid(), signal.SIGTERM)
