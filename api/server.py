"""Runs the HTTP service in uvicorn."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from api.app import create_app
from api.protocols import BoundedHttp, BoundedWebSocket
from api.resources import Resources, open_resources
from streams.process.listening import listen_errors
from streams.process.metrics_server import metrics_server
from streams.settings import Settings

logger = logging.getLogger(__name__)

GRACE_S = 10
"""Seconds that requests in progress have to end when the process stops."""

KEEP_ALIVE_S = 30
"""Seconds that a connection may be idle between two requests. Clients usually close theirs after 5. If both ends had
the same limit, some requests would arrive just when the service closes."""

BACKLOG = 2_048
"""Connections that may wait to be accepted."""

SEND_BUFFER_BYTES = 262_144
"""Bytes that the system keeps of what a client has not read; Linux doubles it."""

WEBSOCKET_MAX_BYTES = 65_536
"""The most bytes of a message from the client of a WebSocket."""


class Server(uvicorn.Server):
    """A uvicorn server that ends the streams of the app before it waits for the requests in progress."""

    def __init__(self, config: uvicorn.Config, resources: Resources, on_ready: Callable[[], None]) -> None:
        """Create the server. `on_ready` is called when it accepts connections."""
        super().__init__(config)
        self._resources = resources
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to accept connections, end the streams, and wait for the requests in progress."""
        # uvicorn would otherwise wait for streams that never end.
        self._resources.stop.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and Ctrl-C. Unlike uvicorn's own, it does not raise the signal again afterwards.

        The process ends with exit code 0 then, as a worker does.
        """
        loop = asyncio.get_running_loop()
        for number in HANDLED_SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in HANDLED_SIGNALS:
                loop.remove_signal_handler(number)


async def run(
    settings: Settings,
    *,
    on_ready: Callable[[], None] = lambda: None,
    share_port: bool = False,
    restarts: int = 0,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: The settings.
        on_ready: Called when the service accepts connections.
        share_port: Whether other processes of this service listen on the same port.
        restarts: How often a supervisor has started this process again.

    Raises:
        RejectedError: The port of the service or that of the metrics is in use or not allowed.
        SettingsError: The address is not loopback, and nothing authenticates callers.
        ConnectorError, ModelError: The service cannot start; the message says why.
    """
    allow_many_connections()
    listening = bind(settings.api_host, settings.api_port, share=share_port)
    try:
        async with open_resources(settings) as resources, AsyncExitStack() as stack:
            resources.metrics.restarts.inc(restarts)
            stack.enter_context(
                metrics_server(
                    settings.web_bind,
                    settings.api_metrics_port,
                    resources.metrics.registry,
                    setting="EMOSTREAM_API_METRICS_PORT",
                )
            )
            config = uvicorn.Config(
                create_app(resources),
                http=BoundedHttp,
                ws=BoundedWebSocket,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                ws_max_size=WEBSOCKET_MAX_BYTES,
                # It would cost 40 kB of memory for each client.
                ws_per_message_deflate=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
            host, port = listening.getsockname()[:2]

            def ready() -> None:
                logger.info("the HTTP service listens on http://%s:%d; /docs has its documentation", _url(host), port)
                on_ready()

            await Server(config, resources, ready).serve([listening])
    finally:
        listening.close()


def allow_many_connections() -> None:
    """Raise the limit of open files to what the system allows. Each connection needs one, and 1,024 is common."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bind(host: str, port: int, *, share: bool = False) -> socket.socket:
    """Returns a socket that is bound to an address; the server listens on it later.

    Args:
        host: The address.
        port: The port; 0 for any free one.
        share: Whether other processes of this user may bind it too. The system then divides the connections.

    Raises:
        RejectedError: The port is in use or not allowed, or the address is not one of this machine.
    """
    with listen_errors(
        host, port, setting="EMOSTREAM_API_PORT", bind_setting="EMOSTREAM_API_HOST", zero="any free one"
    ):
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit it. The system would otherwise keep some MB for each client that does not read.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if share:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found.bind(address)
        except BaseException:
            found.close()
            raise
    return found


def _url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
