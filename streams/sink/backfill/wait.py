"""Between two short pieces of work a backfill waits for its wait: for the gate to be open."""

from __future__ import annotations

import threading
from collections.abc import Callable

from streams.errors import BackfillStoppedError
from streams.sink.gate.cpu_aware import CLOSED_POLL_S, Gate
from streams.sink.gate.rule import GateState

Wait = Callable[[], None]
"""Called between two short pieces of work: waits for the gate, or raises to stop."""


def gate_waiter(gate: Gate, stop: threading.Event, on_wait: Callable[[GateState], None] = lambda state: None) -> Wait:
    """Waits while the gate is closed; raises BackfillStoppedError once `stop` is set.

    Args:
        gate: asked before each piece of work.
        stop: ends the work, and the waiting.
        on_wait: told, as often as it looks, why the gate is closed.
    """

    def wait() -> None:
        while not stop.is_set() and not gate.is_open():
            on_wait(gate.state)
            stop.wait(CLOSED_POLL_S)
        if stop.is_set():
            raise BackfillStoppedError("stopped")

    return wait
