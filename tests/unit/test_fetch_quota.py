"""How a fetch divides its posts among networks."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.query.fetch_quota import Quota


async def bring(quota: Quota, name: str, has: int) -> int:
    """A network that has some posts. Returns how many it brought."""
    brought = 0
    while brought < has and await quota.room(name):
        assert quota.take(name)
        brought += 1
        await asyncio.sleep(0)
    quota.end(name)
    return brought


async def brought(limit: int, *has: int) -> list[int]:
    quota = Quota(limit, [str(number) for number in range(len(has))])
    async with asyncio.timeout(30):
        return await asyncio.gather(*(bring(quota, str(number), posts) for number, posts in enumerate(has)))


@pytest.mark.parametrize(
    ("limit", "has", "wanted"),
    [
        (10, [20], [10]),
        (10, [20, 20], [5, 5]),
        (11, [20, 20], [6, 5]),
        (10, [2, 20], [2, 8]),
        (10, [0, 20, 1], [0, 9, 1]),
        (10, [3, 3], [3, 3]),
        (1, [5, 5], [1, 0]),
    ],
)
async def test_a_fair_share_and_what_others_leave(limit: int, has: list[int], wanted: list[int]) -> None:
    assert await brought(limit, *has) == wanted


@given(limit=st.integers(1, 60), has=st.lists(st.integers(0, 40), min_size=1, max_size=5))
def test_as_many_as_there_are_and_never_more(limit: int, has: list[int]) -> None:
    found = asyncio.run(brought(limit, *has))
    assert sum(found) == min(limit, sum(has))
    # Nobody gets less than a fair share for the benefit of another one.
    assert all(got >= min(posts, limit // len(has)) for got, posts in zip(found, has, strict=True))


async def test_a_released_share_goes_to_whoever_waits() -> None:
    quota = Quota(4, ["fast", "slow"])
    assert await quota.room("slow")
    for _ in range(2):
        assert await quota.room("fast")
        assert quota.take("fast")
    waiting = asyncio.create_task(quota.room("fast"))
    await asyncio.sleep(0)
    assert not waiting.done()
    quota.release()
    assert await waiting
    assert quota.take("fast")
    assert quota.take("fast")
    assert quota.full.is_set()
    # The slow network had room when it began to read.
    assert not quota.take("slow")
    assert not await quota.room("slow")
