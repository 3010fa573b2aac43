"""A worker that is stopped while it loads its first model, and what a worker that has stopped leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from streams.ops.demo.processes import Role, clean_environment
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S

Start = Callable[..., Role]

IN_A_PROGRAM = """
import asyncio, logging, os, signal, threading
from streams.pipeline.worker import run_worker
from streams.settings import load_settings

async def run():
    worker = asyncio.create_task(run_worker(load_settings()))
    while not any(thread.name.endswith("-worker-deliveries") for thread in threading.enumerate()):
        await asyncio.wait([worker], timeout=0.1)
        assert not worker.done(), worker.result()
    os.kill(os.getpid(), signal.SIGTERM)
    await worker

before = threading.excepthook, logging.getLogger("asyncio").level
asyncio.run(run())
assert (threading.excepthook, logging.getLogger("asyncio").level) == before
print("unchanged")
"""
"""A program that runs a worker and stops it."""


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


def test_a_worker_leaves_the_hooks_and_the_loggers_of_its_process_as_they_are(
    env: dict[str, str], settings: Settings
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", IN_A_PROGRAM],
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert run.stdout == "unchanged\n", run.stderr
