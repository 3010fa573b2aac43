"""Several streams as one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from connectors.sources.merging import merged


class Part:
    """Yields items, and then ends, fails or waits for ever."""

    def __init__(self, items: Sequence[int], end: Exception | None = None, *, waits: bool = False) -> None:
        self.items, self.end, self.waits = items, end, waits
        self.closed = False
        self.yielded = 0

    async def run(self) -> AsyncGenerator[int, None]:
        try:
            for item in self.items:
                self.yielded += 1
                yield item
            if self.waits:
                await asyncio.sleep(3_600)
            if self.end is not None:
                raise self.end
        finally:
            self.closed = True


async def test_all_items_come_until_all_have_ended() -> None:
    parts = [Part([1, 2]), Part([]), Part(range(3, 300))]
    found = [item async for item in merged([part.run() for part in parts])]
    assert sorted(found) == list(range(1, 300))
    assert [item for item in found if item > 2] == list(range(3, 300))


async def test_the_error_of_one_comes_after_its_items_and_closes_the_others() -> None:
    failing, waiting = Part([1, 2, 3], ValueError("broken")), Part([], waits=True)
    items = merged([failing.run(), waiting.run()])
    assert [await anext(items) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="broken"):
        await anext(items)
    assert waiting.closed


async def test_no_part_is_read_far_ahead_and_closing_closes_all() -> None:
    part = Part(range(1_000))
    async with aclosing(merged([part.run()], ahead=5)) as items:
        await anext(items)
        for _ in range(50):
            await asyncio.sleep(0)
        assert part.yielded < 10
    assert part.closed
