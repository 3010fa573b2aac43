"""Who may switch the window tables, and the switch itself. Every lease runs out if its holder dies.

What `emo:meta` notes besides the generation in force:

    rebuild_by, rebuild_until   the lease of the rebuild that runs
    generations                 the highest number that was ever given to tables, in force or not
    garbage                     the generation to remove: half made, or no longer in force

and the state of each shard in force, while the switch is made: `sealed_by`, `sealed_until`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

from connectors.errors import UnavailableError
from streams.errors import RebuildRefusedError
from streams.windows.rebuild.editor import TableEditor

logger = logging.getLogger(__name__)

SWITCH_MARGIN_MS = 2_000
"""The switch is made this long before the seals run out: the servers of a cluster have clocks of their own."""


@dataclass(frozen=True)
class Leases:
    """The rights of one rebuild.

    Attributes:
        tables: the tables in force.
        owner: a name that no other rebuild has.
        lock_ms: how long the right to rebuild lasts without being renewed.
        seal_ms: how long the old tables stay sealed without that.
    """

    tables: TableEditor
    owner: str
    lock_ms: int
    seal_ms: int

    async def lock(self) -> None:
        """Become the one rebuild.

        Raises:
            RebuildRefusedError: another one runs.
        """
        done, left_ms = await self.tables.lease(None, "rebuild", self.owner, self.lock_ms, "take")
        if not done:
            raise RebuildRefusedError(
                "another rebuild of the window tables is running; if it was killed, try again in "
                f"{math.ceil(left_ms / 1_000)} s"
            )

    async def renew_lock(self) -> None:
        """Stay the one rebuild.

        Raises:
            RebuildRefusedError: the lease ran out, or Redis was emptied.
        """
        done, _ = await self.tables.lease(None, "rebuild", self.owner, self.lock_ms, "renew")
        if not done:
            raise RebuildRefusedError(
                "this rebuild was held up for too long, or Redis lost its data; nothing has changed, run it again"
            )

    async def unlock(self) -> None:
        """Let others rebuild."""
        await self.tables.lease(None, "rebuild", self.owner, 0, "release")

    async def seal(self, action: str = "take") -> int:
        """Have nothing change in the tables; `action` is `take`, or `renew` to hold on to it without a gap.

        Returns:
            Until when, in ms on the server's clock.

        Raises:
            RebuildRefusedError: a seal ran out before it was renewed.
        """
        shards = range(self.tables.shards)
        answers = await asyncio.gather(
            *(self.tables.lease(shard, "sealed", self.owner, self.seal_ms, action) for shard in shards)
        )
        if not all(done for done, _ in answers):
            raise RebuildRefusedError("the switch took too long; the workers go on with the old tables, run it again")
        return min(until for _, until in answers)

    async def unseal(self) -> None:
        """Let the tables change again."""
        shards = range(self.tables.shards)
        await asyncio.gather(*(self.tables.lease(shard, "sealed", self.owner, 0, "release") for shard in shards))

    async def new_generation(self) -> TableEditor:
        """Empty tables under a new number, after all garbage was removed."""
        garbage = await self.tables.garbage()
        if garbage is not None and garbage != self.tables.generation:
            await self.tables.at(garbage).clear()
        rebuilt = self.tables.at(await self.tables.next_generation())
        await rebuilt.clear()  # left over, where Redis lost the note of them but not the tables
        return rebuilt

    async def switch(self, rebuilt: TableEditor) -> None:
        """Put rebuilt tables in force. The old ones must be sealed.

        Raises:
            RebuildRefusedError: a lease ran out; the old tables are in force.
        """
        until = await self.seal("renew")
        if not await self.tables.switch(self.owner, rebuilt.generation, until - SWITCH_MARGIN_MS):
            raise RebuildRefusedError(
                "the switch took too long, or another rebuild was faster; nothing has changed, run it again"
            )

    async def retire(self) -> None:
        """Remove the old tables, after the switch. What they were sealed with stays for a while.

        So a worker that looked before the switch finds them sealed, and not empty, which would have it begin them anew.
        """
        try:
            for shard in range(self.tables.shards):
                await self.tables.expire_state(shard, self.seal_ms)
            await self.tables.clear(state=False)
            await self.tables.forget_garbage()
        except UnavailableError as exc:
            logger.warning("the old tables were not removed, the next rebuild does it: %s", exc)
