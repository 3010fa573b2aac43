"""The top keywords are those of the latest day, whatever was counted before, and reading them costs little."""

from __future__ import annotations

from collections import Counter

import pytest

from streams.window_sizes import WindowSize
from streams.windows.deltas import Entry, reduce_entries
from streams.windows.reader import Row
from streams.windows.store import WindowStore
from streams.windows.top import TopKeywords
from streams.windows.update import ShardUpdate
from tests.integration.window_store_support import env, of

__all__ = ["env"]  # a fixture

DAY_S = 86_400
SIZES = [WindowSize(60, 2 * DAY_S), WindowSize(DAY_S, 400 * DAY_S)]


class Counting:
    """Counts posts into the tables of the default sizes, at rising offsets."""

    def __init__(self, store: WindowStore) -> None:
        self.store = store
        self.end = 0
        self.counts: dict[int, Counter[str]] = {}

    async def add(self, day: float, *keywords: str) -> None:
        """Count a post for each of these keywords."""
        entries = [of(self.end + i, day * DAY_S, keyword) for i, keyword in enumerate(keywords)]
        self.counts.setdefault(int(day), Counter()).update(["*"] * len(keywords) + list(keywords))
        await self._apply(entries)

    async def _apply(self, entries: list[Entry]) -> None:
        start, self.end = self.end, self.end + len(entries)
        for shard in range(self.store.shards):
            await self.store.initialise(shard, 0)
            at = (await self.store.positions(shard, [0]))[0]
            assert at.offset == (start or -1)
            deltas = reduce_entries(entries, positions=[at] * self.store.shards, end=self.end, sizes=SIZES)[shard]
            assert await self.store.apply(shard, ShardUpdate.of({0: (at, deltas)})) is None

    def top(self, limit: int) -> list[tuple[str, int]]:
        """Returns the expected keywords and their posts."""
        latest = self.counts[max(self.counts)]
        return sorted(latest.items(), key=lambda item: (item[0] != "*", -item[1], item[0]))[:limit]


def posts(rows: list[Row]) -> list[tuple[str, int]]:
    return [(key.keyword, int(row["n"])) for key, row in rows]


@pytest.fixture
def counting(store: WindowStore) -> Counting:
    return Counting(store)


async def test_empty_tables_have_no_top_keywords(store: WindowStore) -> None:
    assert await TopKeywords(store).read(9) == []


async def test_the_keywords_with_the_most_posts_of_the_latest_day(store: WindowStore, counting: Counting) -> None:
    top = TopKeywords(store)
    await counting.add(0, "tea", "tea", "coffee")
    assert posts(await top.read(9)) == [("*", 3), ("tea", 2), ("coffee", 1)]
    await counting.add(0.4, *(f"word-{number % 300}" for number in range(451)), "coffee")
    for limit in (1, 5, 102, 1_000):
        assert posts(await top.read(limit)) == counting.top(limit)
    # Not every shard has a post of the next day.
    await counting.add(1, "milk")
    assert posts(await top.read(9)) == [("*", 1), ("milk", 1)]
    # A late post of the day before does not matter.
    await counting.add(0, "tea", "tea")
    assert posts(await top.read(9)) == [("*", 1), ("milk", 1)]
    (_, row), _ = await top.read(2)
    assert row["l:joy"] == "1"


async def test_a_window_that_changes_is_read_again_and_no_other(store: WindowStore, counting: Counting) -> None:
    top = TopKeywords(store)
    await counting.add(0, "tea", "coffee")
    await top.read(9)
    before = await commands(store)
    assert posts(await top.read(9)) == [("*", 2), ("coffee", 1), ("tea", 1)]
    assert (await commands(store))["hgetall"] == before["hgetall"]
    await counting.add(0, "tea")
    assert posts(await top.read(9)) == [("*", 3), ("tea", 2), ("coffee", 1)]
    assert (await commands(store))["hgetall"] == before["hgetall"] + 2


async def test_the_cost_of_a_read_does_not_depend_on_the_number_of_windows(
    store: WindowStore, counting: Counting
) -> None:
    taken = []
    for words in (10, 2_000):
        await counting.add(0, *(f"word-{number}" for number in range(words)))
        before = await commands(store)
        await TopKeywords(store).read(5)
        taken.append(await commands(store) - before)
    assert taken[0] == taken[1]
    assert sum(taken[0].values()) < 50


@pytest.mark.parametrize("interrupted", [False, True])
async def test_tables_without_top_are_filled(store: WindowStore, counting: Counting, *, interrupted: bool) -> None:
    """Tables that were rebuilt have none. A worker that is killed while it fills them leaves a part."""
    await counting.add(0, *(f"word-{number % 1_200}" for number in range(2_500)))
    for shard in range(store.shards):
        state, top = (store._key(shard, name) for name in ("state", "top"))
        if interrupted:
            await store._redis.zremrangebyrank(top, 0, 100)
            await store._redis.hset(state, "top_filling", "1")
        else:
            await store._redis.unlink(top)
            await store._redis.hdel(state, "top_end")
    await counting.add(0, "word-7", "new")
    assert posts(await TopKeywords(store).read(2_000)) == counting.top(2_000)
    await counting.add(0, "word-8", "newer")
    assert posts(await TopKeywords(store).read(2_000)) == counting.top(2_000)


async def commands(store: WindowStore) -> Counter[str]:
    """Returns how often each command was called, by scripts too. A cluster's nodes are summed."""
    client = store._redis
    found = await client.info("commandstats", **({"target_nodes": "primaries"} if hasattr(client, "get_nodes") else {}))
    nodes = found.values() if hasattr(client, "get_nodes") else [found]
    calls: Counter[str] = Counter()
    for node in nodes:
        calls.update({name.removeprefix("cmdstat_"): stat["calls"] for name, stat in node.items()})
    return Counter({name: calls[name] for name in ("hget", "hmget", "hgetall", "zrange", "evalsha", "eval")})
