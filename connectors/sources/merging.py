"""Merges several streams into one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


async def merged(parts: Sequence[AsyncGenerator[T, None]], *, ahead: int = 100) -> AsyncGenerator[T, None]:
    """Yield the items of several generators as they come, until all have ended.

    Each is read by a task of its own. If one fails, its items are yielded first, and then its error is raised. At the
    end all are closed.

    Args:
        parts: the generators.
        ahead: how many items are read before they are yielded.
    """
    queue: asyncio.Queue[T | _End] = asyncio.Queue(ahead)

    async def read(part: AsyncGenerator[T, None]) -> None:
        error: Exception | None = None
        try:
            async with aclosing(part):
                async for item in part:
                    await queue.put(item)
        except Exception as exc:  # noqa: BLE001 - it is raised where the items are yielded
            error = exc
        await queue.put(_End(error))

    tasks = [asyncio.create_task(read(part)) for part in parts]
    left = len(tasks)
    try:
        while left:
            found = await queue.get()
            if not isinstance(found, _End):
                yield found
            elif found.error is not None:
                raise found.error
            else:
                left -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
