"""Polls a served model's channel at a set pace, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from models.serving.served import StoppedError

MAX_BACKOFF_S: Final = 60.0
"""Longest pause between two polls, in seconds. Each poll that fails doubles the pause up to this."""

JOIN_S: Final = 2.0
"""Seconds to wait for the thread at a stop. A thread that waits for S3 is left alone; nothing waits for it."""


class Polled(Protocol):
    """What is polled; `ServedModel` has it."""

    def poll(self) -> bool:
        """Read the channel once; False if that failed and should be repeated."""

    def cancel(self) -> None:
        """End a poll in progress."""


class ChannelWatch:
    """The thread that polls. `start` and `stop` are for one thread."""

    def __init__(self, model: Polled, poll_s: float, on_failure: Callable[[BaseException], None]) -> None:
        """Prepare the thread.

        Args:
            model: what to poll.
            poll_s: seconds between two polls.
            on_failure: told in the polling thread what ended it, unless `stop` did: a defect, or a panic of a library.
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
            # Also what is no Exception, such as a panic in a library of Rust: the thread must not end unnoticed.
            except BaseException as exc:  # noqa: BLE001 - crosses from the thread to its owner
                if not self._stopping.is_set():  # else the connection was closed under it
                    self._on_failure(exc)
                return
            pause = self._poll_s if decided else max(self._poll_s, min(pause * 2, MAX_BACKOFF_S))
