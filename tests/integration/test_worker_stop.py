"""A worker that gets a signal while it loads its first model."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S

Start = Callable[..., Role]


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)
        yield server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_the_first_model(
    settings: Settings, start: Start, silent_server: socket.socket, number: int
) -> None:
    """It does not go on until the read is given up, after which it would connect once more."""
    port = silent_server.getsockname()[1]
    worker = start("worker", EMOSTREAM_S3_ENDPOINT=f"http://127.0.0.1:{port}")
    connection, _ = silent_server.accept()
    with connection:
        os.kill(worker.pid, number)
        assert worker.wait(TIMEOUT_S) == 0
        silent_server.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent_server.accept()
    log = worker.log.read_text()
    assert "stopped before the model was loaded" in log
    assert "Traceback" not in log
