"""A recount from Postgres and Kafka together counts the complete log, wherever Kafka's part begins."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streams.records import ALL_KEYWORDS, ClassifiedPost
from streams.windows.deltas import Entry, Position, reduce_entries
from streams.windows.rebuild.counting import Recount
from streams.windows.rebuild.posts import ALL_ORIGINS, Page, PartitionSurvey, PostReader
from streams.windows.rebuild.scope import Action, Scope
from streams.windows.recent import Horizons, RecentPosts
from streams.windows.tumbling import shard_of
from tests.helpers import NOON_MS, for_counting
from tests.property.aggregate_logs import make_log, to_messages
from tests.property.aggregate_world import HORIZONS, NONE, SETTINGS, Shard, World


class FakePostReader(PostReader):
    """Kafka is a list of messages. Postgres holds each origin once, with the time at which it was first appended."""

    def __init__(self, world: World, posts: list[ClassifiedPost], low: int) -> None:
        super().__init__(world.settings, world)  # type: ignore[arg-type]
        self._world = world
        world.low[0] = low
        first = self._first(0, low, world.bounds("", 0)[1])
        # The rows that were delivered before Kafka's first record. In Postgres, `classified_at` shows which they are.
        lost = [post.origin.offset for post, m in zip(posts, world.logs[0], strict=True) if (m.offset() or 0) < low]
        before = ALL_ORIGINS if first is None else max([first.post.origin.offset, *(offset + 1 for offset in lost)])
        self._rows: dict[int, tuple[ClassifiedPost, int]] = {}
        for post, entry in zip(posts, world.logs[0], strict=True):
            if post.origin.offset < before:
                self._rows.setdefault(post.origin.offset, (post, entry.timestamp()[1]))
        at = low if first is None else first.offset
        self.found = PartitionSurvey(0, at, before, len(self._rows) if low else 0, 0, None)

    def rows(self, survey: PartitionSurvey, recent: RecentPosts | None, size: int) -> Iterator[Page]:
        """Yields rows in the order of their origins, as the query does."""
        every = [post for _, post in sorted(self._rows.items())]
        for start in range(0, len(every), size):
            entries = [
                Entry(
                    survey.low,
                    for_counting(post),
                    recent is not None and recent.add(survey.low - 1, post.id.encode(), appended),
                )
                for post, appended in every[start : start + size]
            ]
            yield Page(entries, survey.low, len(entries))


async def nothing() -> None:
    """Does nothing after a page."""


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one_loop:
        yield one_loop


@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.floats(0, 1),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.sampled_from(HORIZONS),
    st.integers(1, 7),
)
@settings(max_examples=400, deadline=None)
def test_a_recount_counts_the_complete_log(
    runner: asyncio.Runner, seed: int, shards: int, cut: float, ends: list[float], horizons: Horizons, page: int
) -> None:
    draw = random.Random(seed)
    log = make_log(draw, 0)
    if horizons != NONE:
        log = list({post.origin.offset: post for post in log}.values())  # a repetition would renew the time of its id
    world = World([to_messages(log, 0, draw)], shards, horizons)
    world.settings = world.settings.model_copy(update={"aggregate_batch_max": page})
    complete = list(world.logs[0])
    end = world.bounds("", 0)[1]
    low = round(cut * end)
    reader = FakePostReader(world, log, low)
    low = reader.found.low
    # If Kafka's part begins within a repetition, the positions are after the repetition: retention is not so close.
    before = max(
        (post.origin.offset for m, post in zip(complete, log, strict=True) if (m.offset() or 0) < low), default=-1
    )
    past = [m.offset() or 0 for m, post in zip(complete, log, strict=True) if post.origin.offset >= before]
    least = next((offset + 1 for offset in past if offset >= low), None)
    assume(least is not None or not past or before < 0)
    targets = [max(low, least or 0, round(share * end)) for share in ends[:shards]]
    begin = NOON_MS + 300_000
    scope = Scope(0, begin, None, {60: NOON_MS + 400_000})

    async def recount() -> Recount:
        for shard in range(shards):
            await world.store.initialise(shard, 0)
        found = Recount(world.settings, world.store, reader, scope, nothing)  # type: ignore[arg-type]
        await found.count_rows(reader.found)
        await found.count_records(reader.found, [min(targets)] * shards)
        await found.count_records(reader.found, targets)
        return found

    found = runner.run(recount())
    everything = [Entry(m.offset() or 0, for_counting(post)) for m, post in zip(complete, log, strict=True)]
    if (recent := horizons.begin()) is not None:
        everything = [
            entry._replace(duplicate=recent.add(entry.offset, m.key(), m.timestamp()[1]))
            for entry, m in zip(everything, complete, strict=True)
        ]
    set_aside: dict[Action, Counter[Any]] = {Action.EXPIRED: Counter(), Action.KEEP: Counter()}
    for shard, target in enumerate(targets):
        every = [entry for entry in everything if entry.offset < target]
        wanted = reduce_entries(every, positions=[Position()] * shards, end=target, sizes=world.settings.window_sizes)[
            shard
        ]
        for key in list(wanted.windows):
            if (action := scope.action_for(key)) is not Action.COUNT:
                posts = wanted.windows.pop(key).fields["n"]
                if key.keyword == ALL_KEYWORDS:
                    set_aside[action][key.size if action is Action.EXPIRED else key] += posts
        table, expected = world.store.tables[shard], Shard()
        expected.add(wanted.windows)
        assert table.windows == expected.windows
        assert table.late == Counter(post.window.size for post in wanted.too_late)
        assert table.duplicates == wanted.duplicates
        if shard_of(ALL_KEYWORDS, shards) == shard:
            assert (found.expired, found.kept) == (set_aside[Action.EXPIRED], set_aside[Action.KEEP])
        if target > low or reader.found.rows:
            assert table.positions[0] == wanted.position._replace(offset=max(target, low))
    assert found.lag(reader.found, end) == max(0, end - max(low, min(targets)))


def test_the_window_sizes_are_the_expected_ones() -> None:
    assert {size.seconds for size in SETTINGS[1, 1, NONE].window_sizes} == {60, 300}
