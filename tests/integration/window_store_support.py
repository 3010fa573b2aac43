"""Helpers for tests of the window tables: posts to count, and the store on one server and on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from streams.records import ClassifiedPost, ModelRef, Origin, from_ms
from streams.window_sizes import WindowSize
from streams.windows.deltas import Entry, Position, ShardDeltas, reduce_entries
from streams.windows.store import WindowStore
from streams.windows.update import ShardUpdate
from tests.helpers import for_counting
from tests.integration.redis_cluster import ClusterNode

START = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1_000)
KEYWORD = "coffee|{1} ☕"
SIZES = [WindowSize(60, 3_600)]


@pytest.fixture(params=["one server", "cluster"])
def env(env: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    """The scripts run on one server, and on a cluster, where each shard lies on one node."""
    if request.param == "one server":
        return env
    nodes: list[ClusterNode] = request.getfixturevalue("redis_cluster")
    return {**env, "EMOSTREAM_REDIS_URL": f"redis://127.0.0.1:{nodes[0].port}", "EMOSTREAM_REDIS_CLUSTER": "true"}


def entry(offset: int, seconds: float, label: str = "joy", confidence: float = 0.75) -> Entry:
    moment = from_ms(START + int(seconds * 1_000))
    post = ClassifiedPost(
        id=str(offset),
        source="test",
        keywords=(KEYWORD,),
        created_at=moment,
        label=label,
        confidence=confidence,
        scores={label: confidence},
        model=ModelRef(name="m", version="1.0.0"),
        origin=Origin(topic="raw", partition=0, offset=offset),
        classified_at=moment,
    )
    return Entry(offset, for_counting(post))


def reduced(
    store: WindowStore,
    shard: int,
    entries: list[Entry],
    at: Position,
    end: int,
    sizes: Sequence[WindowSize] = SIZES,
) -> ShardDeltas:
    return reduce_entries(entries, positions=[at] * store.shards, end=end, sizes=sizes)[shard]


async def apply(
    store: WindowStore, shard: int, partition: int, expected: Position, shard_delta: ShardDeltas
) -> int | None:
    """Apply one partition's delta; returns the shard's offset if it differs from the expected one."""
    update = ShardUpdate.of({partition: (expected, shard_delta)})
    mismatch = await store.apply(shard, update)
    if mismatch is None:
        return None
    assert mismatch[0] == partition
    return mismatch[1]


async def apply_all(
    store: WindowStore, entries: list[Entry], end: int, partition: int = 0, sizes: Sequence[WindowSize] = SIZES
) -> None:
    for shard in range(store.shards):
        await store.initialise(shard, 0)
        at = (await store.positions(shard, [partition]))[partition]
        assert await apply(store, shard, partition, at, reduced(store, shard, entries, at, end, sizes)) is None


def of(offset: int, seconds: float, *keywords: str, label: str = "joy") -> Entry:
    return Entry(offset, entry(offset, seconds, label).post._replace(keywords=keywords))
