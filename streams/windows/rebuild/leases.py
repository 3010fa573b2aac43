"""The leases of a rebuild, the switch to rebuilt window tables, and the removal of old ones.

A lease runs out by itself if its owner dies. `emo:meta` has these fields of rebuilds:

    rebuild_by, rebuild_until   the lease of the rebuild that runs
    generations                 the highest generation so far, of current, rebuilt and removed tables
    garbage                     the generation that is to be removed: an unfinished one, or the previous one

During the switch, the state of each shard of the current tables has a lease too, its seal: `sealed_by`, `sealed_until`.
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
"""The switch is made at least this long before the seals run out, as the clocks of a cluster's servers may differ."""


@dataclass(frozen=True)
class Leases:
    """The leases of one rebuild.

    Attributes:
        tables: the tables that are current before the switch.
        owner: a name that no other rebuild has.
        lease_ms: how long the lease of the rebuild lasts without a renewal.
        seal_ms: how long a seal lasts without a renewal.
    """

    tables: TableEditor
    owner: str
    lease_ms: int
    seal_ms: int

    async def take(self) -> None:
        """Take the lease of the rebuild.

        Raises:
            RebuildRefusedError: Another rebuild has it.
        """
        done, left_ms = await self.tables.lease(None, "rebuild", self.owner, self.lease_ms, "take")
        if not done:
            raise RebuildRefusedError(
                "another rebuild of the window tables is running; if it was killed, try again in "
                f"{math.ceil(left_ms / 1_000)} s"
            )

    async def renew(self) -> None:
        """Renew the lease of the rebuild.

        Raises:
            RebuildRefusedError: The lease ran out, or Redis was emptied.
        """
        done, _ = await self.tables.lease(None, "rebuild", self.owner, self.lease_ms, "renew")
        if not done:
            raise RebuildRefusedError(
                "this rebuild was held up for too long, or Redis lost data; nothing has changed, run the rebuild again"
            )

    async def release(self) -> None:
        """Release the lease of the rebuild."""
        await self.tables.lease(None, "rebuild", self.owner, 0, "release")

    async def seal(self, action: str = "take") -> int:
        """Seal all shards, so that nothing in them changes. `action` is `take`, or `renew` to prolong the seals.

        Returns:
            The time at which the first seal runs out, in ms on the server's clock.

        Raises:
            RebuildRefusedError: A seal ran out before it was renewed, or another rebuild has it.
        """
        shards = range(self.tables.shards)
        answers = await asyncio.gather(
            *(self.tables.lease(shard, "sealed", self.owner, self.seal_ms, action) for shard in shards)
        )
        if not all(done for done, _ in answers):
            raise RebuildRefusedError(
                "the switch took too long; the workers go on with the old windows, run the rebuild again"
            )
        return min(until for _, until in answers)

    async def unseal(self) -> None:
        """Release the seals."""
        shards = range(self.tables.shards)
        await asyncio.gather(*(self.tables.lease(shard, "sealed", self.owner, 0, "release") for shard in shards))

    async def new_generation(self) -> TableEditor:
        """Returns empty tables of a new generation. The garbage of earlier rebuilds is removed first."""
        garbage = await self.tables.garbage()
        if garbage is not None and garbage != self.tables.generation:
            await self.tables.at(garbage).clear()
        rebuilt = self.tables.at(await self.tables.next_generation())
        await rebuilt.clear()  # Redis may have lost the last generation's number but not its tables
        return rebuilt

    async def switch(self, rebuilt: TableEditor) -> None:
        """Make the rebuilt tables the current ones. The old ones must be sealed.

        Raises:
            RebuildRefusedError: A lease ran out. The old tables are still the current ones.
        """
        until = await self.seal("renew")
        if not await self.tables.switch(self.owner, rebuilt.generation, until - SWITCH_MARGIN_MS):
            raise RebuildRefusedError(
                "the switch took too long, or another rebuild was faster; nothing has changed, run the rebuild again"
            )

    async def retire(self) -> None:
        """Remove the old tables after the switch. Their states, and so their seals, stay for `seal_ms`.

        Otherwise a worker that read the current generation before the switch would find empty tables, and initialise
        them.
        """
        try:
            for shard in range(self.tables.shards):
                await self.tables.expire_state(shard, self.seal_ms)
            await self.tables.clear(state=False)
            await self.tables.forget_garbage()
        except UnavailableError as exc:
            logger.warning("the old window tables were not removed; the next rebuild removes them: %s", exc)
