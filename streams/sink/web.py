"""The sink's web server: `/metrics`, `/health` for a supervisor, and `/status` for `emostream sink status`."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry

from streams.process.status_web import StatusWeb
from streams.sink.report import Health, SinkReport


class SinkWeb(StatusWeb):
    """The web server of a sink."""

    def __init__(self, host: str, port: int, *, registry: CollectorRegistry, report: Callable[[], SinkReport]) -> None:
        """Prepare the server.

        Args:
            host: The address to listen on.
            port: The port to listen on; 0 for any free port.
            registry: The metrics that `/metrics` shows.
            report: Returns the current status of the sink; called from several threads.
        """

        def health() -> tuple[HTTPStatus, object]:
            found = report()
            code = HTTPStatus.SERVICE_UNAVAILABLE if found.health is Health.DANGER else HTTPStatus.OK
            return code, {"status": found.health, "reasons": found.reasons}

        def status() -> tuple[HTTPStatus, object]:
            return HTTPStatus.OK, report().model_dump(mode="json")

        pages = {"/health": health, "/status": status}
        super().__init__(host, port, registry=registry, pages=pages, setting="EMOSTREAM_SINK_WEB_PORT")
