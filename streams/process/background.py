"""Runs a call in a daemon thread, for which the interpreter does not wait when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T], *, name: str) -> Future[T]:
    """Run `work` in a daemon thread, and return a future of its result or exception.

    The interpreter waits for the threads of an executor at its end, even while a server never answers. It does not wait
    for a daemon thread.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as exc:  # noqa: BLE001 - the future raises it in the caller's thread
            future.set_exception(exc)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
