"""A fake broker that stops like the last broker of a Kafka cluster: meanwhile its metadata names no broker.

Kafka does this only in some shutdowns, depending on timing. The fake answers the two requests that a client needs to
see it, ApiVersions and Metadata in old versions (https://kafka.apache.org/protocol), over a socket.
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
    """A broker with a topic `t` of one partition. A context manager."""

    def __init__(self) -> None:
        self._leaving = threading.Event()
        self._notified: set[bytes] = set()
        self._listener = socket.create_server((_HOST.decode(), 0), backlog=500)
        self._port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bootstrap(self) -> str:
        """The broker's address, which stays the same while it leaves."""
        return f"{_HOST.decode()}:{self._port}"

    @property
    def notified(self) -> int:
        """Number of clients, by `client.id`, that got metadata without a broker."""
        return len(self._notified)

    def leave(self) -> None:
        """Answer the next metadata request of each client with no broker, and its later ones not at all.

        Each time, the fake closes the connection.

        The fake still accepts connections. A client connects to a broker only when it needs to, so a client without a
        connection could not be notified otherwise.
        """
        self._leaving.set()

    def come_back(self) -> None:
        """Name this broker in metadata again."""
        self._leaving.clear()

    def __enter__(self) -> FarewellBroker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Wakes the accepting thread, which `close` alone does not do.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            try:
                while length := requests.read(4):
                    request = requests.read(struct.unpack(">i", length)[0])
                    api, version, correlation, id_length = struct.unpack_from(">hhih", request)
                    leaving = api == _METADATA and self._leaving.is_set()
                    client = request[10 : 10 + id_length]
                    if leaving and client in self._notified:
                        return
                    body = _versions(version) if api == _API_VERSIONS else self._metadata(leaving=leaving)
                    connection.sendall(struct.pack(">ii", 4 + len(body), correlation) + body)
                    if leaving:
                        self._notified.add(client)
                        return
            except OSError:
                return  # the client has closed the connection

    def _metadata(self, *, leaving: bool) -> bytes:
        """Returns a Metadata response of version 1: brokers, the controller, topics."""
        no_rack = struct.pack(">h", -1)
        node = struct.pack(">ih", _NODE, len(_HOST)) + _HOST + struct.pack(">i", self._port) + no_rack
        brokers = struct.pack(">i", 0) if leaving else struct.pack(">i", 1) + node
        error, leader = (_LEADER_NOT_AVAILABLE, -1) if leaving else (0, _NODE)
        replicas = struct.pack(">ii", 1, _NODE)
        partition = struct.pack(">hii", error, 0, leader) + 2 * replicas
        topic = struct.pack(">hh1s?", 0, 1, b"t", False) + struct.pack(">i", 1) + partition
        return brokers + struct.pack(">ii", leader, 1) + topic


def _versions(requested: int) -> bytes:
    """Returns an ApiVersions response of version 0 with the supported requests."""
    error = _UNSUPPORTED_VERSION if requested else 0
    versions = ((_API_VERSIONS, 0, 0), (_METADATA, 1, 1))
    return struct.pack(">hi", error, len(versions)) + b"".join(struct.pack(">hhh", *one) for one in versions)
