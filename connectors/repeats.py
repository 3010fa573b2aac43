"""Limits how often a message that repeats is logged."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable

INTERVAL_S = 60.0
"""Seconds between two lines about the same thing, for example a server that does not answer for an hour."""


class Repeats:
    """Tells which of the repetitions of a message to log: the first one, and then one in `INTERVAL_S`. Thread-safe."""

    def __init__(self) -> None:
        self._logged: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def due(self, what: Hashable) -> bool:
        """Returns whether to log what the message is about now. If so, it counts as logged."""
        now = time.monotonic()
        with self._lock:
            self._logged = {known: at for known, at in self._logged.items() if now - at < INTERVAL_S}
            if what in self._logged:
                return False
            self._logged[what] = now
            return True

    def end(self, what: Hashable) -> None:
        """Forget that a message was logged, because what it was about has ended. The next one is logged at once."""
        with self._lock:
            self._logged.pop(what, None)
