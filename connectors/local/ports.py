"""Choosing TCP ports on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable

from connectors.errors import LocalStackError

HOST = "127.0.0.1"

# Below the ephemeral ranges of Linux (from 32768) and macOS (from 49152). From those ranges the system could give the
# port of a server that restarts to an outgoing connection. A client that keeps reconnecting could even connect to
# itself.
_RANGE = range(20_000, 30_000)
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Returns whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set this option too: old connections in TIME_WAIT do not block the port, another listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(preferred: int) -> int:
    """Returns `preferred` if a server could listen on it now, else a random free port.

    Raises:
        LocalStackError: No free port was found.
    """
    return choose(["port"], {"port": preferred}, set())["port"]


def accepts(port: int, timeout_s: float) -> bool:
    """Returns whether a program accepts connections on `port`."""
    try:
        with socket.create_connection((HOST, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def choose(
    names: Iterable[str],
    remembered: dict[str, int],
    taken: set[int],
    free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """Returns a port for each name: the remembered one if it is still free, else a random free one.

    Args:
        names: Names of the ports that a server needs.
        remembered: The ports of the server's last start.
        taken: Ports of other servers of this stack; the chosen ports are added.
        free: Returns whether a server could listen on a port.

    Raises:
        LocalStackError: No free port was found.
    """
    chosen: dict[str, int] = {}
    for name in names:
        wanted = remembered.get(name)
        candidates = ([wanted] if wanted else []) + random.sample(_RANGE, _ATTEMPTS)
        for port in candidates:
            if port not in taken and free(port):
                chosen[name] = port
                taken.add(port)
                break
        else:
            raise LocalStackError(f"no free port on {HOST} between {_RANGE.start} and {_RANGE.stop - 1}")
    return chosen
