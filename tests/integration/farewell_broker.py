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
        self._leaving = threading.Event()
        self._told: set[bytes] = set()
        self._listener = socket.create_server((_HOST.decode(), 0), backlog=500)
        self._port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bootstrap(self) -> str:
        """Where it is, also while it leaves."""
        return f"{_HOST.decode()}:{self._port}"

    @property
    def told(self) -> int:
        """Clients that were told, counted by their `client.id`."""
        return len(self._told)

    def leave(self) -> None:
        """Tell each client that asks, once, that there is no broker, and hang up; from then on only hang up.

        It goes on to accept. A client opens the connection to a broker that it has just learnt of when it needs one, so
        it may have none at this moment, and would never hear.
        """
        self._leaving.set()

    def come_back(self) -> None:
        """Be the one broker again."""
        self._leaving.clear()

    def __enter__(self) -> FarewellBroker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Wakes the thread that accepts, which close alone does not.
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
                    if leaving and client in self._told:
                        return
                    body = _versions(version) if api == _API_VERSIONS else self._metadata(leaving=leaving)
                    connection.sendall(struct.pack(">ii", 4 + len(body), correlation) + body)
                    if leaving:
                        self._told.add(client)
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
