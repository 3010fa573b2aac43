"""Signals that end the input, or ask for the end, and not the work: what was begun is finished and reported."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn, Self, TypeVar

T = TypeVar("T")


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set from now on. Main thread only."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP unwinds the stack, and none after it disturbs that. Main thread only.

    Raises:
        KeyboardInterrupt: at Ctrl-C.
        SystemExit: at the others, with the code that a shell expects.
    """

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for each in heeded:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores
    previous = {number: signal.signal(number, leave) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class GracefulInterrupt:
    """While entered, the first Ctrl-C only ends what `until_stopped` yields; a second one interrupts as usual.

    An iterable that may wait, for input or for its pace, is interrupted while it waits and nowhere else, so that its
    consumer is never cut in half. Main thread only.

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
        """The items, up to the first Ctrl-C."""
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
