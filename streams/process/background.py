"""A call in a thread that nothing waits for at the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T], *, name: str) -> Future[T]:
    """Run `work` in a daemon thread of its own; what it returns or raises is the future's.

    Not an executor: the interpreter waits for the threads of those, also where a server never answers.
    """
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = work()
        except BaseException as exc:  # noqa: BLE001 - crosses to whoever asks for the result
            outcome.set_exception(exc)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
