"""Lets a backfill wait for the gate between two short pieces of work."""

from __future__ import annotations

import threading
from collections.abc import Callable

from streams.errors import BackfillStoppedError
from streams.gate.cpu_aware import CLOSED_POLL_S, Gate
from streams.gate.rule import GateState

Wait = Callable[[], None]
"""Called before each short piece of work: returns when it may be done, and raises BackfillStoppedError to stop."""


def gate_waiter(gate: Gate, stop: threading.Event, on_wait: Callable[[GateState], None] = lambda state: None) -> Wait:
    """Returns a `Wait` that returns once the gate is open, and raises BackfillStoppedError once `stop` is set.

    It calls `on_wait` with the state of the gate at each check of the closed gate.
    """

    def wait() -> None:
        while not stop.is_set() and not gate.is_open():
            on_wait(gate.state)
            stop.wait(CLOSED_POLL_S)
        if stop.is_set():
            raise BackfillStoppedError("the backfill was stopped; what it has written stays")

    return wait
