"""Whether the sink may write now."""

from __future__ import annotations

from typing import Protocol


class Gate(Protocol):
    """Asked before every slice of writing. While it is closed the backlog stays in Kafka."""

    def is_open(self) -> bool:
        """Whether a slice may be written now."""


class OpenGate:
    """Always open: writes as records come."""

    def is_open(self) -> bool:
        """True."""
        return True
