"""Which pages may talk to the service from a browser.

A browser sends a request of any page to a service on the loopback address, and shows the page the answer only if CORS
allows it. It does not ask for a WebSocket at all. So a service that needs no credentials must look at `Origin` and
`Host` by itself.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


def may_connect(connection: HTTPConnection, allowed: Collection[str]) -> bool:
    """Returns whether a page may open this connection: one of the service itself, or of an origin that is allowed.

    Programs other than browsers send no origin.
    """
    origin = connection.headers.get("origin")
    if origin is None or origin in allowed:
        return True
    try:
        return urlsplit(origin).netloc == connection.headers.get("host")
    except ValueError:  # it is no origin, such as `http://[`
        return False


def is_loopback_name(host: str) -> bool:
    """Returns whether a `Host` header names this machine.

    A page can let its own name resolve to the loopback address (DNS rebinding). Its requests then have its own name.
    """
    name = host if host.startswith("[") and host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower() in _LOOPBACK_NAMES
