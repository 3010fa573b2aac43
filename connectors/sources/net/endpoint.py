"""Checks the address of a server that is given as an option. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from connectors.errors import RejectedError


def host_of_endpoint(endpoint: str, *, source: str, example: str) -> str:
    """Returns the host of the address of a server.

    Args:
        endpoint: the address.
        source: the kind of source, for the message.
        example: an address such as the source needs, for the message.

    Raises:
        RejectedError: `endpoint` is not an address that begins with `http://` or `https://` and has a host.
    """
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RejectedError(f"the endpoint of {source} is an address such as {example}")
    return parts.hostname
