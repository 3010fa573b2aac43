"""A broker that says goodbye as Kafka's last one does: while it stops, its metadata names no broker.

Kafka does so in some of its shutdowns only, by chance of timing. This speaks the two requests that a client needs for
it, ApiVersions and Metadata in old versions (https://kafka.apache.org/protocol), over a socket.
"""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType

_METADATA, _API_VERSIONS = 3, 18
_UNSUPPORTED_VERSION, _LEADER_NOT_AVAILABLE = 35, 5
_NODE = 1
_HOST = b"127.0.0.1"


class FarewellBroker:
    """One broker with a topic `t` of one partition. A context manager."""

    def __init__(self) -> None:
        self._leaving = False
        self._lock = threading.Lock()
        self.farewells = 0
        """Clients that were told."""
        self._port = 0
        self._listen()

    @property
    def bootstrap(self) -> str:
        """Where it is, or was, and will be again."""
        return f"{_HOST.decode()}:{self._port}"

    def leave(self) -> None:
        """Tell the next client that asks, each once, that there is no broker, and hang up; let nobody in."""
        self._leaving = True
        # Wakes the thread that accepts, which close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def come_back(self) -> None:
        """At the same address."""
        self._leaving = False
        self._listen()

    def __enter__(self) -> FarewellBroker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._leaving:
            self.leave()

    def _listen(self) -> None:
        self._listener = socket.create_server((_HOST.decode(), self._port), backlog=500)
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            try:
                while length := requests.read(4):
                    request = requests.read(struct.unpack(">i", length)[0])
                    api, version, correlation = struct.unpack(">hhi", request[:8])
                    leaving = self._leaving
                    body = _versions(version) if api == _API_VERSIONS else self._metadata(leaving=leaving)
                    connection.sendall(struct.pack(">ii", 4 + len(body), correlation) + body)
                    if leaving and api == _METADATA:
                        with self._lock:
                            self.farewells += 1
                        return
            except OSError:
                return  # the client hung up

    def _metadata(self, *, leaving: bool) -> bytes:
        """Version 1: brokers, the controller, topics."""
        no_rack = struct.pack(">h", -1)
        node = struct.pack(">ih", _NODE, len(_HOST)) + _HOST + struct.pack(">i", self._port) + no_rack
        brokers = struct.pack(">i", 0) if leaving else struct.pack(">i", 1) + node
        error, leader = (_LEADER_NOT_AVAILABLE, -1) if leaving else (0, _NODE)
        replicas = struct.pack(">ii", 1, _NODE)
        partition = struct.pack(">hii", error, 0, leader) + 2 * replicas
        topic = struct.pack(">hh1s?", 0, 1, b"t", False) + struct.pack(">i", 1) + partition
        return brokers + struct.pack(">ii", leader, 1) + topic


def _versions(asked: int) -> bytes:
    """What it speaks."""
    error = _UNSUPPORTED_VERSION if asked else 0
    versions = ((_API_VERSIONS, 0, 0), (_METADATA, 1, 1))
    return struct.pack(">hi", error, len(versions)) + b"".join(struct.pack(">hhh", *one) for one in versions)
