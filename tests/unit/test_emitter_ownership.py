"""Exactly one worker publishes a shard, and one that is fenced leaves it alone; integration tests show the fencing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import UnavailableError
from connectors.kafka.transactional import FencedError
from streams.metrics import Metrics
from tests.emitter_harness import FakeStore, Harness, harness_fixture, make_emitter  # noqa: F401 - a fixture
from tests.helpers import FakeApp, make_settings

METRICS = Metrics()


@given(st.integers(1, 12), st.integers(1, 40), st.data())
def test_every_shard_has_exactly_one_owner(partitions: int, shards: int, data: st.DataObject) -> None:
    settings = make_settings(partitions=partitions, shards=shards)
    # Any division of the partitions among up to four workers, some of which may have none.
    holders = [data.draw(st.integers(0, 3)) for _ in range(partitions)]
    owned: list[int] = []
    for worker in range(4):
        emitter = make_emitter(FakeApp(), settings, FakeStore(shards, []), METRICS)
        emitter.own(frozenset(p for p, holder in enumerate(holders) if holder == worker))
        owned += emitter.owned()
    assert sorted(owned) == list(range(shards))


async def test_nothing_is_published_without_partitions(harness: Harness) -> None:
    harness.store.change(0)
    assert await harness.tick() == []


async def test_windows_are_published_under_their_shards_id_then_cleared(harness: Harness) -> None:
    harness.emitter.own(frozenset({1}))
    harness.store.change(1, 3)
    harness.store.change(0)
    assert await harness.tick() == [
        ("open", "e-windows-1"),
        ("publish", "e-windows-1", 3),
        ("clear", 1, 3),
        ("open", "e-windows-3"),
    ]
    assert harness.store.waiting[1] == {}
    assert len(harness.store.waiting[0]) == 1


async def test_a_producer_is_kept_for_the_next_interval(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    await harness.tick()
    harness.store.change(0)
    assert await harness.tick() == [("publish", "e-windows-0", 1), ("clear", 0, 1)]


async def test_a_take_over_without_an_answer_is_tried_again(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    harness.fails_to_open["e-windows-0"] = [UnavailableError("no broker")]
    assert await harness.tick() == [("open", "e-windows-2")]
    assert await harness.tick() == [("open", "e-windows-0")]


@pytest.mark.parametrize("when", ["publishing", "opening"])
async def test_a_fenced_shard_is_left_to_its_owner_until_the_next_assignment(harness: Harness, when: str) -> None:
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    (harness.fails if when == "publishing" else harness.fails_to_open)["e-windows-0"] = [FencedError("taken over")]
    await harness.tick()
    assert harness.failures("fenced") == 1
    assert await harness.tick() == []
    assert len(harness.store.waiting[0]) == 1
    harness.emitter.own(frozenset({0}))  # the same partitions in a new assignment
    assert ("publish", "e-windows-0", 1) in await harness.tick()
    assert harness.app.crashes == []


async def test_a_new_assignment_closes_every_producer_first(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    await harness.tick()
    harness.emitter.own(frozenset({1}))
    assert await harness.tick() == [
        ("close", "e-windows-0"),
        ("close", "e-windows-2"),
        ("open", "e-windows-1"),
        ("open", "e-windows-3"),
    ]


async def test_ids_are_not_taken_over_after_the_assignment_has_ended(harness: Harness) -> None:
    # Shard 0 is being published when the partitions move to another worker. Opening shard 2 now would fence that
    # worker, which would not try again for a while.
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    harness.while_publishing = lambda: harness.emitter.own(frozenset())
    assert ("open", "e-windows-2") not in await harness.tick()
    assert await harness.tick() == [("close", "e-windows-0")]


async def test_stopping_closes_the_producers_and_keeps_the_marks(harness: Harness) -> None:
    harness.emitter.own(frozenset({0}))
    await harness.tick()
    harness.store.change(0)
    await harness.emitter.on_stop()
    assert harness.log[-2:] == [("close", "e-windows-0"), ("close", "e-windows-2")]
    assert len(harness.store.waiting[0]) == 1


async def test_a_fenced_shard_is_taken_over_again_later(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A former owner may start its take-over before our assignment, and finish it after ours."""
    harness.emitter.own(frozenset({0}))
    harness.store.change(0)
    harness.fails["e-windows-0"] = [FencedError("taken over")]
    await harness.tick()
    monkeypatch.setattr("streams.pipeline.emitter.FENCED_RETRY_S", 0.0)
    assert ("publish", "e-windows-0", 1) in await harness.tick()
