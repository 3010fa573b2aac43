"""What a web server says where it may not listen."""

from __future__ import annotations

import errno
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
