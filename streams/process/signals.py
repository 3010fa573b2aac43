"""Handling of SIGINT, SIGTERM and SIGHUP: set an event, exit with cleanup, or end the input and finish the work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn, Self, TypeVar

T = TypeVar("T")


def stop_on_signals() -> threading.Event:
    """Returns an event that SIGTERM and Ctrl-C set from now on. Call it in the main thread."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """While entered, the first Ctrl-C, SIGTERM or SIGHUP raises, so that the block cleans up and the process exits.

    Later signals are ignored, so that they do not interrupt the cleanup. Enter it in the main thread.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        SystemExit: SIGTERM or SIGHUP arrived. The exit code is 128 plus the signal's number, as a shell expects.
    """

    def exit_on(number: int, _frame: FrameType | None) -> NoReturn:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A signal that is ignored already, such as SIGHUP under `nohup`, stays ignored.
    handled = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, exit_on) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class GracefulInterrupt:
    """While entered, the first Ctrl-C only ends the items of `until_stopped`; a second one raises KeyboardInterrupt.

    Ctrl-C interrupts the iterator while it waits for its next item, and never the code that handles an item. Enter it
    in the main thread.

    Attributes:
        stopped: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._interruptible = False

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.stopped = True
        if self._interruptible:
            raise KeyboardInterrupt

    def until_stopped(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, up to the first Ctrl-C."""
        iterator = iter(items)
        while True:
            try:
                self._interruptible = True
                if self.stopped:
                    return
                item = next(iterator)
            except (StopIteration, KeyboardInterrupt):
                return
            finally:
                self._interruptible = False
            yield item
