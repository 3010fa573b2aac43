"""A server in front of another one, which holds some requests back until the test lets them through."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class GateProxy:
    """Passes bytes on in both directions. A context manager.

    A request that names `holds` is kept until `open` is set; `reached` is set when one has come.
    """

    def __init__(self, upstream: str, holds: str) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None
        assert parts.port is not None
        self._upstream = (parts.hostname, parts.port)
        self._holds = holds.encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.reached = threading.Event()
        self.open = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> GateProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.open.set()
        # Wakes the thread that accepts, which close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, requests: bool) -> None:
        """Until `source` hangs up; then close it, and tell `target` that nothing follows."""
        with source, contextlib.suppress(OSError):
            while data := source.recv(2**16):
                if requests and self._holds in data:
                    self.reached.set()
                    self.open.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
