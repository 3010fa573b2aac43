"""Polls the channel of a served model at regular intervals, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from models.serving.served import StoppedError

MAX_BACKOFF_S: Final = 60.0
"""Longest pause between two polls in seconds. Each failed poll doubles the pause up to this."""

JOIN_S: Final = 2.0
"""Seconds to wait for the thread to end. If it still waits for S3 after that, it is left alone: it is a daemon
thread and ends with the process."""


class Polled(Protocol):
    """The methods of `ServedModel` that the thread calls."""

    def poll(self) -> bool:
        """Read the channel once, and return False after an error that is to be retried."""

    def cancel(self) -> None:
        """End a poll in progress."""


class ChannelWatch:
    """The polling thread. `start` and `stop` must be called from one thread."""

    def __init__(self, model: Polled, poll_s: float, on_failure: Callable[[BaseException], None]) -> None:
        """Prepare the thread.

        Args:
            model: The model to poll.
            poll_s: Seconds between two polls.
            on_failure: Called in the polling thread with the exception that ended it: a defect, or a panic of a
                library. Not called after `stop`.
        """
        self._model = model
        self._poll_s = poll_s
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-watch", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling, and wait up to `JOIN_S` for the thread."""
        self._stopping.set()
        self._model.cancel()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        pause = self._poll_s
        while not self._stopping.wait(pause):
            try:
                decided = self._model.poll()
            except StoppedError:
                return
            # BaseException, because a panic in a Rust library is not an Exception. The thread must not end unnoticed.
            except BaseException as exc:  # noqa: BLE001 - `on_failure` gets it
                if not self._stopping.is_set():  # after a stop the connection to S3 may have been closed
                    self._on_failure(exc)
                return
            pause = self._poll_s if decided else max(self._poll_s, min(pause * 2, MAX_BACKOFF_S))
