"""Faust's manager of tables for an app without tables: it does not wait for any to be registered.

Faust's own one sleeps for a second at its start, and the stages begin to read after it.
"""

from __future__ import annotations

import logging

from faust.tables.manager import TableManager


class NoTables(TableManager):  # type: ignore[misc] # Faust ships no types
    """A manager that starts at once."""

    async def on_start(self) -> None:
        """Do what Faust's manager does after its sleep."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


# Its lines are Faust's, so their level is that of Faust. A logger that the class itself names is replaced by its base.
NoTables.logger = logging.getLogger("faust.tables.manager")
