"""The aggregate protocol ends with the right counts after crashes, zombies, rollbacks, emptied tables and rebuilds."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline import positions as positions_module
from streams.windows.recent import Horizons
from streams.windows.tumbling import WindowKey
from tests.property.aggregate_logs import count_distinct, make_log, to_messages
from tests.property.aggregate_world import HORIZONS, World

OPERATIONS = st.lists(
    st.builds(
        SimpleNamespace,
        kind=st.sampled_from(
            ["batch", "batch", "batch", "batch", "restart", "rebalance", "snapshot", "rollback", "empty", "switch"]
        ),
        worker=st.integers(0, 1),
        number=st.integers(0, 12),
        some=st.sets(st.integers(0, 3), min_size=1),
        faults=st.dictionaries(st.integers(0, 3), st.sampled_from(["unreached", "answer lost"]), max_size=2)
        | st.just({}),
    ),
    max_size=25,
)


@pytest.fixture(scope="module", autouse=True)
def _brokers_have_one_clock() -> Iterator[None]:
    """A worker that starts reads the horizon before its start, and no record more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions_module, "CLOCKS_DIFFER_MS", 0)
        yield


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one_loop:
        yield one_loop


@given(OPERATIONS, st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 4), st.sampled_from(HORIZONS))
@settings(max_examples=600, deadline=None)
def test_the_tables_are_those_of_a_run_without_failures(
    runner: asyncio.Runner,
    operations: list[SimpleNamespace],
    seed: int,
    partitions: int,
    shards: int,
    horizons: Horizons,
) -> None:
    draw = random.Random(seed)
    posts = [make_log(draw, partition) for partition in range(partitions)]
    logs = [to_messages(log, partition, draw) for partition, log in enumerate(posts)]
    world = World(logs, shards, horizons)
    runner.run(world.play(operations))
    expected = count_distinct(posts, logs, horizons)
    found: dict[WindowKey, dict[str, int]] = {}
    for table in world.store.tables:
        assert not found.keys() & table.windows.keys()
        found.update(table.windows)
    assert found == expected.tables
    assert sum((table.late for table in world.store.tables), Counter()) == expected.late
    assert sum(table.duplicates for table in world.store.tables) == expected.duplicates


@given(
    OPERATIONS,
    st.integers(0, 2**32),
    st.integers(1, 2),
    st.integers(1, 4),
    st.lists(st.integers(0, 25), min_size=2, max_size=2),
)
@settings(max_examples=250, deadline=None)
def test_windows_are_complete_or_not_created_if_kafka_has_lost_posts(
    runner: asyncio.Runner,
    operations: list[SimpleNamespace],
    seed: int,
    partitions: int,
    shards: int,
    lost: list[int],
) -> None:
    """An incomplete window would replace the complete one that was published before."""
    draw = random.Random(seed)
    posts = [make_log(draw, partition) for partition in range(partitions)]
    world = World([to_messages(log, partition, draw) for partition, log in enumerate(posts)], shards)
    for partition in range(partitions):
        world.expire(partition, lost[partition])
    runner.run(world.play(operations))
    found: dict[WindowKey, dict[str, int]] = {}
    for table in world.store.tables:
        found.update(table.windows)
    expected = count_distinct(posts, world.logs).tables
    assert found == {key: row for key, row in expected.items() if key.start >= world.complete_from()}
