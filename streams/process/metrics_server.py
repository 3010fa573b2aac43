"""A web server with nothing but `/metrics` for Prometheus, for a process that serves no other pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from streams.process.listening import listen_errors

logger = logging.getLogger(__name__)


@contextmanager
def metrics_server(host: str, port: int, registry: CollectorRegistry, *, setting: str) -> Iterator[None]:
    """Serve the metrics while entered. A port of 0 serves nothing. `setting` is the setting of the port, for errors.

    Raises:
        RejectedError: The port is in use or not allowed, or the address is not one of this machine.
    """
    if port == 0:
        yield
        return
    with listen_errors(host, port, setting=setting):
        server, thread = start_http_server(port, addr=host, registry=registry)
    logger.info("the web server listens on %s:%d", host, port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(2.0)
