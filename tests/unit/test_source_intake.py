"""Posts are searched for keywords many at once; none is lost if the keywords are not known for a while."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from connectors.errors import UnavailableError
from streams.ingest.keywords.matcher import Matcher
from streams.ingest.keywords.selection import Selection
from streams.ingest.sources.intake import POSTS_AT_ONCE
from tests.source_world import Network, World, source_post


@pytest.mark.parametrize("failing", [0, 5, POSTS_AT_ONCE, POSTS_AT_ONCE + 40])
async def test_no_post_is_lost_if_the_keywords_are_not_known_for_a_while(failing: int) -> None:
    calls = count()

    def matcher() -> Matcher:
        if next(calls) == failing:
            raise UnavailableError("the keywords are not known")
        return Matcher([])

    world = World()
    pump = world.pump(selection=Selection(matcher, keep_unmatched=True))
    posts = [source_post(number) for number in range(2 * POSTS_AT_ONCE)]
    with pytest.raises(UnavailableError, match="the keywords are not known"):
        await pump.run(Network(posts, ends=True), asyncio.Event())
    await pump.run(Network(posts, ends=True), asyncio.Event())
    assert world.ids() == [f"test:{post.id}" for post in posts]
