"""A batch that changes many windows is applied in parts, and a stop does not wait for all of them."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest

from streams.pipeline import aggregate
from streams.pipeline.batches import StaleBatchError
from streams.records import ClassifiedPost
from streams.windows import parts
from streams.windows.update import ShardUpdate
from tests.aggregate_harness import FakeStore, Harness, batch
from tests.helpers import classified


def wide(offset: int, words: int = 20) -> ClassifiedPost:
    return classified(offset, keywords=[f"word {offset}-{number}" for number in range(words)])


async def test_a_batch_that_changes_many_windows_is_applied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, divided = Harness(), Harness()
    monkeypatch.setattr(aggregate, "divide", partial(parts.divide, max_changes=2_000))
    await divided.stage.process(batch(*map(wide, range(30))))
    monkeypatch.setattr(aggregate, "divide", partial(parts.divide, max_changes=10**9))
    await whole.stage.process(batch(*map(wide, range(30))))
    assert len(whole.store.applied) == 2  # one update for each shard
    assert len(divided.store.applied) > 10
    assert divided.store.stored == whole.store.stored
    assert divided.store.counts() == whole.store.counts()
    assert divided.metric("emostream_posts_counted_total") == 30
    assert divided.metric("emostream_posts_repeated_total") == 0


async def test_the_rest_of_a_batch_is_left_when_it_becomes_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation and a stop wait for the batch in flight. What is applied remains, and the rest is fetched again."""
    monkeypatch.setattr(aggregate, "divide", partial(parts.divide, max_changes=2_000))

    class RevokedDuringApply(FakeStore):
        async def apply(self, shard: int, update: ShardUpdate) -> tuple[int, int] | None:
            harness.epoch = 2
            return await super().apply(shard, update)

    harness = Harness(RevokedDuringApply())
    posts = list(map(wide, range(30)))
    with pytest.raises(StaleBatchError):
        await harness.stage.process(batch(*posts))
    applied = harness.store.stored[0, 0].offset
    assert 0 < applied < 30
    assert harness.store.stored[1, 0].offset == applied
    while (applied := harness.store.stored[0, 0].offset) < 30:
        harness.gaps = {0: applied}
        with contextlib.suppress(StaleBatchError):
            await harness.stage.process(batch(*posts[applied:], start=applied, epoch=harness.epoch))
    assert harness.store.counts()["*"] == 30
