"""The WebSocket client of the sources: guarded connections, bounded messages, time-outs."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net.dialer import addresses_of, shares
from connectors.sources.net.http import USER_AGENT
from connectors.sources.net.status import check_status

_silent = logging.getLogger(f"{__name__}.wire")
_silent.setLevel(logging.INFO)  # at DEBUG the library logs every header, with credentials, and every message

_QUEUE = 64
"""Most messages that are received ahead. Beyond it the client stops reading, and the server waits."""


class WebSocket:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection, host: str) -> None:
        self._connection = connection
        self._host = host

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield the messages as bytes, whether they are text or binary.

        Raises:
            UnavailableError: The connection was closed, also if the server closed it properly, or a message is longer
                than the limit.
        """
        try:
            while True:
                yield await self._connection.recv(decode=False)
        except ConnectionClosed as exc:
            raise UnavailableError(f"{self._host} closed the connection: {exc}") from exc

    async def send(self, text: str) -> None:
        """Send a text message.

        Raises:
            UnavailableError: The connection was closed.
        """
        try:
            await self._connection.send(text)
        except ConnectionClosed as exc:
            raise UnavailableError(f"{self._host} closed the connection: {exc}") from exc


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    allow_private: bool,
    max_bytes: int,
    timeout_s: float = 10.0,
    headers: Mapping[str, str] | None = None,
    ping_s: float | None = 20.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[WebSocket]:
    """Connect to a WebSocket, and close it at the end of the block.

    Args:
        url: a `ws` or `wss` address. A redirect to another host is not followed.
        allow_private: whether it may connect to private, loopback and link-local addresses too.
        max_bytes: the longest message.
        timeout_s: seconds until the connection must be open.
        headers: sent with the request.
        ping_s: seconds between two pings; a missing answer closes the connection. None sends no pings.
        tls: how certificates are verified.

    Raises:
        PrivateAddressError: The address is not public.
        RateLimitError: The server answers 429, or 503 with a `Retry-After`.
        UnavailableError: The server does not answer, or does not speak the protocol.
        RejectedError: The URL is malformed, or the server refuses the request.
    """
    try:
        address = parse_uri(url)
    except InvalidURI as exc:
        raise RejectedError("the address of a WebSocket begins with ws:// or wss:// and has a host") from exc
    try:
        async with asyncio.timeout(timeout_s):
            connection = await _connected(
                url,
                address.host,
                address.port,
                await addresses_of(address.host, address.port, allow_private=allow_private),
                timeout_s=timeout_s,
                max_bytes=max_bytes,
                headers=headers,
                ping_s=ping_s,
                tls=tls if address.secure else None,
            )
    except TimeoutError as exc:
        raise UnavailableError(f"{address.host} did not answer within {timeout_s:g} s") from exc
    try:
        yield WebSocket(connection, address.host)
    finally:
        await connection.close()


async def _connected(
    url: str,
    host: str,
    port: int,
    addresses: list[str],
    *,
    timeout_s: float,
    max_bytes: int,
    headers: Mapping[str, str] | None,
    ping_s: float | None,
    tls: ssl.SSLContext | None,
) -> ClientConnection:
    """Connect to the first address that answers."""
    options: dict[str, Any] = {} if tls is None else {"ssl": tls}
    failure: Exception = UnavailableError(f"{host} has no address")
    for candidate, limit in zip(addresses, shares(timeout_s, addresses), strict=True):
        try:
            return await connect(
                url,
                # The address that was checked. The certificate is still verified against the name in the URL.
                host=candidate,
                port=port,
                proxy=None,
                compression=None,
                additional_headers=dict(headers or {}),
                user_agent_header=USER_AGENT,
                open_timeout=limit,
                close_timeout=2.0,
                ping_interval=ping_s,
                ping_timeout=ping_s,
                max_size=max_bytes,
                max_queue=_QUEUE,
                logger=_silent,
                **options,
            )
        except InvalidStatus as exc:
            # Not `dict`, which fails if a header comes twice, as `Set-Cookie` does.
            answered = {name.lower(): value for name, value in exc.response.headers.raw_items()}
            check_status(exc.response.status_code, answered, f"the WebSocket of {host}")
            raise UnavailableError(f"the WebSocket of {host} answered {exc.response.status_code}") from exc
        except (TimeoutError, OSError) as exc:
            failure = UnavailableError(f"{host} cannot be connected to: {exc or type(exc).__name__}")
            failure.__cause__ = exc
        except (InvalidHandshake, WebSocketException, EOFError) as exc:
            raise UnavailableError(f"{host} does not answer as a WebSocket: {exc}") from exc
        except ValueError as exc:  # a redirect to another host
            raise RejectedError(f"{host}: {exc}") from exc
    raise failure
