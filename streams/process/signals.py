"""Handling of SIGINT, SIGTERM and SIGHUP: set an event, exit with cleanup, finish the work first, or end the input."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
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

    with _handle_ends(exit_on) as handled:
        yield


@contextmanager
def hold_signals() -> Iterator[None]:
    """While entered, Ctrl-C, SIGTERM and SIGHUP are delayed, so that a piece of work is finished.

    Only the first signal that arrived has its effect afterwards. Enter it in the main thread.
    """
    held: list[int] = []
    try:
        with _handle_ends(lambda number, _frame: held.append(number)):
            yield
    finally:
        if held:
            signal.raise_signal(held[0])


@contextmanager
def _handle_ends(handler: Callable[[int, FrameType | None], object]) -> Iterator[list[int]]:
    """While entered, `handler` handles SIGINT, SIGTERM and SIGHUP. Yields the numbers of those that it handles.

    A signal that is ignored already, such as SIGHUP under `nohup`, stays ignored.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A handler that was not installed from Python is None, and could not be restored.
    handled = [number for number in numbers if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    previous = {number: signal.signal(number, handler) for number in handled}
    try:
        yield list(handled)
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


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
