"""The threads of a sink end together, and the first error is raised."""

from __future__ import annotations

import threading

import pytest

from connectors.errors import RejectedError
from streams.sink import runner


def test_the_first_thread_that_fails_stops_the_others_and_is_raised() -> None:
    stop = threading.Event()

    def fail(_: threading.Event) -> None:
        raise RejectedError("no")

    def wait(stopped: threading.Event) -> None:
        assert stopped.wait(60)

    with pytest.raises(RejectedError):
        runner._run_threads([wait, fail], stop)
    assert stop.is_set()


def test_threads_that_end_after_the_stop_are_no_error() -> None:
    stop = threading.Event()
    stop.set()
    runner._run_threads([lambda stopped: None, lambda stopped: None], stop)
