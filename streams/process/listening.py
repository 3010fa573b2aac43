"""Where a web server may listen, and what it says where it may not."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from connectors.errors import RejectedError, UnavailableError


@contextmanager
def listen_errors(host: str, port: int, *, setting: str) -> Iterator[None]:
    """Raise our errors for those of `bind`; `setting` is where the user chooses the port.

    Raises:
        RejectedError: the port is taken, or not for us.
        UnavailableError: the address is not one of this machine.
    """
    try:
        yield
    except PermissionError as exc:
        raise RejectedError(f"the web server may not listen on {host}:{port}: {exc.strerror}") from exc
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise RejectedError(
                f"port {port} is in use; choose another with {setting}, or 0 for no web server"
            ) from exc
        raise UnavailableError(f"the web server cannot listen on {host}:{port}: {exc.strerror}") from exc


def check_port_free(host: str, port: int) -> None:
    """Raise if the port of the worker's web server is taken.

    Raises:
        RejectedError: with what to do about it.
        UnavailableError: the address is not one of this machine.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with listen_errors(host, port, setting="EMOSTREAM_WEB_PORT"):
            probe.bind((host, port))
