"""The S3 server of moto with atomic conditional writes: `python -m connectors.local.moto_server HOST PORT`.

moto compares the ETag of a conditional write and stores the object in two steps, and it serves each request in a thread
of its own. So two writers with the same condition may both succeed, which S3 does not allow. Here requests that write
are served one after another.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class OneWriteAtATime:
    """A WSGI application that serves the writing requests of another application one after another."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._writing = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request; called by the WSGI server, in a thread for each request."""
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return self._application(environ, start_response)
        # The content is read before, so that a slow writer does not hold up the others.
        if length := int(environ.get("CONTENT_LENGTH") or 0):
            environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(length))
        with self._writing:
            return self._application(environ, start_response)


def serve(host: str, port: int) -> BaseWSGIServer:
    """Returns a server that listens; `serve_forever` serves. Port 0 takes any free port. Its data are the process's."""
    application = OneWriteAtATime(DomainDispatcherApplication(create_backend_app))
    return make_server(host, port, application, threaded=True, request_handler=MotoRequestHandler)


def main(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    serve(host, port).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
