"""Delays signals until a piece of work is finished."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def hold_signals() -> Iterator[None]:
    """Delay Ctrl-C, SIGTERM and SIGHUP until the context is left. Signals that are ignored stay ignored.

    Only the first signal that arrived has its effect then. Call it in the main thread only.
    """
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in numbers if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    previous = {number: signal.signal(number, hold) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])
