"""A worker process's connection to the supervisor that started it: one end of an inherited socket pair.

The supervisor writes `GO` when the process may begin. The process writes `READY` when it has checked and loaded
everything. Nothing else is written. If the supervisor ends, even by SIGKILL, the system closes the other end, and the
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
    """The process's end of the connection. A daemon thread reads it from the construction on."""

    def __init__(self, fd: int) -> None:
        """Take over the file descriptor.

        Raises:
            InputError: The file descriptor is not a socket. Only a supervisor passes one.
        """
        try:
            self._socket = socket.socket(fileno=fd)
        except (OSError, ValueError) as exc:
            raise InputError(f"file descriptor {fd} is not a lifeline: {exc}") from exc
        self._socket.set_inheritable(False)
        self._go = threading.Event()
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def wait_for_go(self) -> None:
        """Wait until the supervisor lets this process begin. A signal ends the wait."""
        self._go.wait()

    def report_ready(self) -> None:
        """Tell the supervisor that this process has checked and loaded everything."""
        # If the supervisor has ended, the reading thread stops this process.
        with contextlib.suppress(OSError):
            self._socket.sendall(READY)

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(64):
                self._go.set()
        # The process stops by the handler that it has for SIGTERM by now, or by the default action.
        os.kill(os.getpid(), signal.SIGTERM)
