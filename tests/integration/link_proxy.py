"""A TCP link to a server, which a test can cut, stall and restore while the server itself goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class LinkProxy:
    """Passes bytes on in both directions, from a port that stays the same. A context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self.connections = 0
        """Connections that were made until now."""
        self._listener: socket.socket | None = None
        self.port = 0
        self.restore()

    def restore(self) -> None:
        """Accept connections, and let the bytes flow again."""
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """End all connections, and refuse new ones, as a server that was stopped."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts, which close alone does not
            self._listener.close()
            self._listener = None
        self.hang_up()
        self._flowing.set()

    def hang_up(self) -> None:
        """End all connections, and accept new ones, as a server that was restarted."""
        with self._lock:
            ended, self._open = self._open, []
        for one in ended:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Accept connections, and pass nothing on, as a server that is paused."""
        self._flowing.clear()

    def __enter__(self) -> LinkProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._upstream)
                with self._lock:
                    self.connections += 1
                    self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(2**16):
                self._flowing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
