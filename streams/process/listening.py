"""Errors of a web server that cannot listen, and checks of its address and its port."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from connectors.errors import RejectedError


@contextmanager
def listen_errors(
    host: str, port: int, *, setting: str, bind_setting: str = "EMOSTREAM_WEB_BIND", zero: str = "no web server"
) -> Iterator[None]:
    """Map the errors of `bind` in the block to errors of one line.

    Args:
        host: The address.
        port: The port.
        setting: The setting of the port.
        bind_setting: The setting of the address.
        zero: What the port 0 stands for.

    Raises:
        RejectedError: The port is in use, the process may not use it, or the address is not one of this machine.
    """
    try:
        yield
    except socket.gaierror as exc:
        raise RejectedError(f"{host!r} is not an address or a name of this machine: {exc.strerror}") from exc
    except PermissionError as exc:
        raise RejectedError(f"the web server may not listen on {host}:{port}: {exc.strerror}") from exc
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise RejectedError(f"port {port} is in use; choose another with {setting}, or 0 for {zero}") from exc
        raise RejectedError(
            f"the web server cannot listen on {host}:{port}: {exc.strerror}; give {bind_setting} an address of "
            "this machine"
        ) from exc


def check_port_free(host: str, port: int, *, setting: str = "EMOSTREAM_WEB_PORT") -> None:
    """Check that a web server could listen on a port. `setting` is the setting of the port, for the error.

    Raises:
        RejectedError: As `listen_errors`.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with listen_errors(host, port, setting=setting):
            probe.bind((host, port))


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches a server that listens on an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # the name of a host
