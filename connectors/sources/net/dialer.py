"""Resolves names, and lets through only the addresses that may be connected to.

A name is resolved once for each connection, and the connection is made to an address that was checked. So neither a
redirect nor a name that resolves differently the second time (DNS rebinding) reaches a private address.
"""

from __future__ import annotations

import asyncio
import socket
import typing
from collections.abc import Iterable, Sequence

import httpcore

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net.addresses import is_public


class PrivateAddressError(RejectedError):
    """A name has only private, loopback or link-local addresses, and those are not allowed."""


async def addresses_of(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Resolve a host and return the addresses that may be connected to, in the resolver's order; at least one.

    Raises:
        UnavailableError: The name could not be resolved.
        PrivateAddressError: The name has addresses, and none of them is public.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # a name with an empty or an overlong label raises UnicodeError
        raise UnavailableError(f"the name {host} cannot be resolved: {exc}") from exc
    every = list(dict.fromkeys(str(info[4][0]) for info in found))
    allowed = [address for address in every if allow_private or is_public(address)]
    if not allowed:
        raise PrivateAddressError(
            f"{host} is at {', '.join(every)}, which is not a public address; sources connect to private addresses "
            "only if that is allowed"
        )
    return allowed


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens the TCP connections of an HTTP client. TLS still verifies the certificate against the name."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers.

        Raises:
            UnavailableError: The name could not be resolved.
            PrivateAddressError: The host has no address that may be connected to.
            httpcore.ConnectError: No address answered.
            httpcore.ConnectTimeout: No address answered within `timeout` seconds.
        """
        addresses = await addresses_of(host, port, allow_private=self._allow_private)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address, limit in zip(addresses, shares(timeout, addresses), strict=True):
            try:
                return await self._backend.connect_tcp(address, port, limit, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        socket_options: Iterable[typing.Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a source connects to no socket of this machine."""
        raise PrivateAddressError(f"a source does not connect to the socket {path}")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


def shares(timeout_s: float | None, addresses: Sequence[str]) -> list[float | None]:
    """Returns how many seconds each attempt may take, so that an address without an answer leaves time for the next."""
    return [timeout_s if timeout_s is None else timeout_s / len(addresses)] * len(addresses)
