"""A web server of a process that is no HTTP service: `/metrics` for Prometheus, and some pages of JSON.

Each request has a thread of its own, so that a slow client delays no other one. The pages need no other server, so they
are served while others do not answer.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from streams.process.listening import listen_errors
from streams.redact import redact

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

CLIENT_TIMEOUT_S = 10.0
"""Seconds after which the connection of a silent client is closed."""

POLL_S = 0.1
"""Seconds between two checks of the server whether it is to stop."""

JOIN_S = 2.0
"""Seconds to wait for the thread to end."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as the base class has it
        logger.debug(format, *args)


Page = Callable[[], tuple[HTTPStatus, object]]
"""Returns the status and the document of a page. Called from several threads."""


class StatusWeb:
    """The web server, in a thread of its own. It is a context manager, and listens while it is entered."""

    def __init__(
        self, host: str, port: int, *, registry: CollectorRegistry, pages: Mapping[str, Page], setting: str
    ) -> None:
        """Prepare the server.

        Args:
            host: The address to listen on.
            port: The port to listen on; 0 for any free port.
            registry: The metrics that `/metrics` shows.
            pages: The other pages, by path.
            setting: The setting of the port, for errors.
        """
        self._host = host
        self._port = port
        self._metrics = make_wsgi_app(registry)
        self._pages = pages
        self._setting = setting
        self._server: WSGIServer | None = None

    @property
    def port(self) -> int:
        """The port on which the server listens while it is entered."""
        return self._port if self._server is None else self._server.server_port

    def __enter__(self) -> Self:
        """Start to listen.

        Raises:
            RejectedError: The port is in use or not allowed, or the address is not one of this machine.
        """
        kind = _Server6 if ":" in self._host else _Server
        with listen_errors(self._host, self._port, setting=self._setting):
            self._server = make_server(self._host, self._port, self._answer, kind, _Handler)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(POLL_S,), name="status-web", daemon=True)
        self._thread.start()
        logger.info("the web server listens on %s:%d", self._host, self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join(JOIN_S)
            self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            metrics: Iterable[bytes] = self._metrics(environ, start_response)
            return metrics
        if environ["REQUEST_METHOD"] != "GET":
            return _json(start_response, HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET is allowed"})
        page = self._pages.get(path)
        if page is None:
            *others, last = ["/metrics", *sorted(self._pages)]
            error = f"no such page; there are {', '.join(others)} and {last}"
            return _json(start_response, HTTPStatus.NOT_FOUND, {"error": error})
        return _json(start_response, *page())


def _json(start_response: StartResponse, code: HTTPStatus, document: object) -> list[bytes]:
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    start_response(f"{code.value} {code.phrase}", headers)
    # The error message of a server may contain an address with its password.
    return [redact(json.dumps(document)).encode() + b"\n"]
