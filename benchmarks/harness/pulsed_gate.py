"""A gate that a timer opens and closes, and a sampler of how long a gate is closed."""

from __future__ import annotations

import asyncio
import time

from streams.gate.cpu_aware import OpenGate


class PulsedGate(OpenGate):
    """A gate that is open for `pulse_s` seconds, then closed for as long, and so on; 0 for a gate that stays open."""

    def __init__(self, pulse_s: float) -> None:
        super().__init__()
        self._pulse_s = pulse_s
        self._began_at = time.monotonic()

    def is_open(self) -> bool:
        """Returns whether the gate is open now."""
        return not self._pulse_s or int((time.monotonic() - self._began_at) / self._pulse_s) % 2 == 0


class Sampler:
    """Adds up the seconds that a gate is closed."""

    def __init__(self, gate: OpenGate) -> None:
        self._gate = gate
        self.seconds = 0.0

    async def run(self) -> None:
        """Look at the gate ten times a second until it is cancelled."""
        at = time.monotonic()
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            self.seconds += 0.0 if self._gate.is_open() else now - at
            at = now
