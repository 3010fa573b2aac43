"""Tells the endless answers of the HTTP service that the process stops, so that they end before it."""

from __future__ import annotations

import asyncio


class Draining:
    """Whether the process stops. Streams wait for it and end; new ones are refused."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def has_begun(self) -> bool:
        """Returns whether the process stops."""
        return self._event.is_set()

    def begin(self) -> None:
        """End all streams."""
        self._event.set()

    async def wait(self) -> None:
        """Returns when the process stops."""
        await self._event.wait()
